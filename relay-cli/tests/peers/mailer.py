"""Sends FILE by SMTP as Python's smtplib does. Prints what the server offers, then the reply to each sending, as JSON."""

import argparse
import json
import pathlib
import smtplib
import ssl

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--sender", required=True)
parser.add_argument("--to", action="append", required=True)
parser.add_argument("--utf8", action="store_true")
parser.add_argument("--ca", help="use STARTTLS, or TLS from the first byte with --implicit, and trust these certificates")
parser.add_argument("--implicit", action="store_true")
parser.add_argument("--user")
parser.add_argument("--password")
parser.add_argument("--count", type=int, default=1)
parser.add_argument("file", type=pathlib.Path)
options = parser.parse_args()

parameters = ["SMTPUTF8", "BODY=8BITMIME"] if options.utf8 else ["BODY=8BITMIME"]
trust = ssl.create_default_context(cafile=options.ca) if options.ca else None
if options.implicit:
    connection = smtplib.SMTP_SSL("localhost", options.port, local_hostname="client.example", context=trust)
else:
    connection = smtplib.SMTP("localhost", options.port, local_hostname="client.example")
with connection as client:
    if trust and not options.implicit:
        client.starttls(context=trust)
    client.ehlo()
    if options.user:
        try:
            client.login(options.user, options.password)
        except smtplib.SMTPAuthenticationError as error:
            print(json.dumps({"login": error.smtp_code}), flush=True)
    print(json.dumps({"offers": sorted(client.esmtp_features)}), flush=True)
    for _ in range(options.count):
        try:
            client.mail(options.sender, parameters)
            for recipient in options.to:
                client.rcpt(recipient)
            code, text = client.data(options.file.read_bytes())
            print(json.dumps({"code": code, "text": text.decode()}), flush=True)
        except smtplib.SMTPResponseException as error:
            print(json.dumps({"code": error.smtp_code, "text": str(error.smtp_error)}), flush=True)
