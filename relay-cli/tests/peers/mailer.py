"""Sends FILE by SMTP as Python's smtplib does. Prints what the server offers, then the reply to each sending, as JSON."""

import argparse
import json
import pathlib
import smtplib

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--sender", required=True)
parser.add_argument("--to", action="append", required=True)
parser.add_argument("--utf8", action="store_true")
parser.add_argument("--count", type=int, default=1)
parser.add_argument("file", type=pathlib.Path)
options = parser.parse_args()

parameters = ["SMTPUTF8", "BODY=8BITMIME"] if options.utf8 else ["BODY=8BITMIME"]
with smtplib.SMTP("127.0.0.1", options.port, local_hostname="client.example") as client:
    client.ehlo()
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
