"""Sends commands right behind STARTTLS, in clear, then goes on with TLS as if nothing had been. Prints what is said behind it.

With --again the clear commands come in a segment of their own, once the server has agreed.
"""

import argparse
import socket
import ssl

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--ca", required=True)
parser.add_argument("--again", action="store_true")
options = parser.parse_args()

INJECTED = b"EHLO evil.example\r\nVRFY injected\r\n"


def reply(stream):
    """One reply, with all its lines."""
    text = b""
    while True:
        line = stream.readline()
        if not line:
            return text + b"(end)"
        text += line
        if line[3:4] != b"-":
            return text


connection = socket.create_connection(("localhost", options.port), timeout=60)
stream = connection.makefile("rb", buffering=0)
reply(stream)
connection.sendall(b"EHLO client.example\r\n")
reply(stream)
connection.sendall(b"STARTTLS\r\n" + (b"" if options.again else INJECTED))
print("clear:", reply(stream).decode().strip(), flush=True)
if options.again:
    connection.sendall(INJECTED)
try:
    trust = ssl.create_default_context(cafile=options.ca)
    secure = trust.wrap_socket(connection, server_hostname="localhost")
except OSError as error:
    print("no TLS:", type(error).__name__, flush=True)
else:
    stream = secure.makefile("rb", buffering=0)
    secure.sendall(b"NOOP\r\n")
    print("secure:", reply(stream).decode().strip(), flush=True)
    secure.sendall(b"QUIT\r\n")
    print("secure:", reply(stream).decode().strip(), flush=True)
    print("then:", reply(stream).decode().strip(), flush=True)
