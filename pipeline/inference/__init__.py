"""The inference loop: frames of all cameras in, messages out, one state per camera."""
