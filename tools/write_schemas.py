"""Writes the JSON Schema files of messages and configuration anew: python tools/write_schemas.py"""

from pipeline.schemas import write_schemas

write_schemas()
