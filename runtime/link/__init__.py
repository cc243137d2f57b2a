"""The link from policy to guard: one SOCK_SEQPACKET Unix socket, one message per packet."""
