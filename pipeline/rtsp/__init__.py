"""What both ends of an RTSP connection share: messages, authentication, SDP, H.264 and RTP; no sockets."""
