"""A mail server that keeps what it gets: DIRECTORY/N.eml is the content of message N as it came, and
DIRECTORY/N.envelope says from and for whom. Prints "listening on PORT" when it is ready. Started again it goes on counting.
"""

import argparse
import asyncio
import pathlib
import ssl

from aiosmtpd.smtp import SMTP, AuthResult


class Server(SMTP):
    # RFC 5321 allows 1,000; what is longer is to come through as well.
    line_length_limit = 1 << 20


class Keeper:
    def __init__(self, directory, refused, deferred):
        self.directory = directory
        self.refused = refused
        self.deferred = deferred
        self.count = len(list(directory.glob("*.eml")))

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refused:
            return f"550 5.1.1 {address} is unknown here"
        if address in self.deferred:
            self.deferred.remove(address)
            return f"451 4.7.1 {address} is to come again"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 known"

    async def handle_DATA(self, server, session, envelope):
        name = self.directory / str(self.count)
        self.count += 1
        parameters = " ".join(sorted(envelope.mail_options))
        lines = [f"MAIL {envelope.mail_from} {parameters}", *(f"RCPT {to}" for to in envelope.rcpt_tos)]
        name.with_suffix(".envelope").write_text("\n".join(lines), encoding="utf-8")
        # Whoever looks for messages sees none that is not whole.
        name.with_suffix(".new").write_bytes(envelope.original_content)
        name.with_suffix(".new").rename(name.with_suffix(".eml"))
        return f"250 2.0.0 kept as {name.name}"


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--refuse", action="append", default=[])
    parser.add_argument("--defer", action="append", default=[], help="refuse this recipient once, for the moment")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="offer no SMTPUTF8, take no lines beyond 1,000 octets")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="want STARTTLS and a login")
    parser.add_argument("--user", nargs=2, metavar=("NAME", "PASSWORD"))
    parser.add_argument("--login-only", action="store_true", help="do not offer AUTH PLAIN")
    parser.add_argument("directory", type=pathlib.Path)
    options = parser.parse_args()
    keeper = Keeper(options.directory, options.refuse, options.defer)
    if options.plain:
        Server.line_length_limit = SMTP.line_length_limit

    more = {}
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.tls)
        more = {"tls_context": context, "require_starttls": True}
    if options.user:
        expected = tuple(text.encode() for text in options.user)

        def check(server, session, envelope, mechanism, data):
            return AuthResult(success=(data.login, data.password) == expected, handled=False)

        more |= {"auth_required": True, "auth_require_tls": bool(options.tls), "authenticator": check}
    if options.login_only:
        more["auth_exclude_mechanism"] = ["PLAIN"]

    def serve():
        return Server(keeper, hostname="mx.example", enable_SMTPUTF8=not options.plain, data_size_limit=1 << 26, **more)

    server = await asyncio.get_running_loop().create_server(serve, "127.0.0.1", options.port)
    print("listening on", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
