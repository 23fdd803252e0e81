"""A client that knows the base dialect of docs/protocol.md and nothing else of this project.

Sends each FILE as one message over one link and prints what it is told, one JSON value a line: every frame as it
came, and at the end {"closed": code, "reason": text}, with the relay's code or, if the client was done first, its own.
"""

import argparse
import asyncio
import base64
import json
import pathlib

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

CHUNK = 10_000


class Client:
    def __init__(self, link, options):
        self.link = link
        self.options = options
        self.smtp = b""

    async def say(self, **fields):
        await self.link.send(json.dumps(fields))

    async def hear(self):
        frame = json.loads(await self.link.recv())
        print(json.dumps(frame), flush=True)
        if frame["type"] == "SMTP_FROM_SERVER":
            if "data" in frame:
                self.smtp += frame["data"].encode()
            else:
                self.smtp += base64.b64decode(frame["dataBase64"])
        return frame

    async def expect(self, kind):
        frame = await self.hear()
        assert frame["type"] == kind, f"{kind} expected"
        return frame

    async def write(self, data):
        try:
            await self.say(type="SMTP_TO_SERVER", data=data.decode())
        except UnicodeDecodeError:
            await self.say(type="SMTP_TO_SERVER", dataBase64=base64.b64encode(data).decode())

    async def reply(self):
        """The next SMTP reply, all of its lines."""
        lines = []
        while True:
            while b"\r\n" not in self.smtp:
                await self.hear()
            line, self.smtp = self.smtp.split(b"\r\n", 1)
            lines.append(line.decode())
            if line[3:4] != b"-":
                return lines

    async def command(self, line, code):
        await self.write(line.encode() + b"\r\n")
        reply = await self.reply()
        assert reply[-1].startswith(code), f"{line}: {reply}"
        return reply

    def envelope(self):
        yield f"MAIL FROM:<{self.options.sender}>"
        for recipient in self.options.to:
            yield f"RCPT TO:<{recipient}>"

    async def careful(self, content):
        """Waits for each reply, and sends the content in pieces."""
        assert (await self.reply())[0].startswith("220")
        offered = await self.command("EHLO client.example", "250")
        assert any(line[4:] == "8BITMIME" for line in offered), offered
        for line in self.envelope():
            await self.command(line, "250")
        await self.command("DATA", "354")
        stuffed = stuff(content)
        for at in range(0, len(stuffed), CHUNK):
            await self.write(stuffed[at : at + CHUNK])
        assert (await self.reply())[0].startswith("250")
        await self.command("QUIT", "221")

    async def simple(self, content):
        """Sends everything at once and waits for the end."""
        script = "".join(line + "\r\n" for line in [*self.envelope(), "DATA"]).encode()
        await self.write(script + stuff(content) + b"QUIT\r\n")

    async def run(self):
        await self.say(type="AUTHENTICATE", apiKey=self.options.key)
        answer = await self.expect("AUTHENTICATE_RESPONSE")
        if not answer["success"]:
            await self.hear()
        for path in self.options.files:
            await self.say(type="SMTP_CHANNEL_OPEN")
            await self.expect("SMTP_CHANNEL_READY")
            self.smtp = b""
            content = path.read_bytes()
            if self.options.simple:
                await self.simple(content)
            else:
                await self.careful(content)
            while (await self.hear())["type"] != "SMTP_CHANNEL_CLOSED":
                pass


def stuff(content):
    assert content.endswith(b"\r\n")
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n"


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--sender", required=True)
    parser.add_argument("--to", action="append", required=True)
    parser.add_argument("--simple", action="store_true")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    async with connect(options.url, proxy=None) as link:
        try:
            await Client(link, options).run()
        except ConnectionClosed:
            pass
        await link.close()
        print(json.dumps({"closed": link.close_code, "reason": link.close_reason}), flush=True)


asyncio.run(main())
