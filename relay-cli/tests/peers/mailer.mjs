// Sends a message with an attachment, as a Node program does: mailer.mjs NODEMAILER PORT ATTACHMENT RECIPIENT…
// MAILER_OPTIONS in the environment adds options of the transport, as JSON. Prints what Nodemailer reports, as one line of JSON.
import { createRequire } from "node:module";

const [library, port, path, ...to] = process.argv.slice(2);
const nodemailer = createRequire(import.meta.url)(library);
const more = JSON.parse(process.env.MAILER_OPTIONS ?? "{}");
const transport = nodemailer.createTransport({ host: "127.0.0.1", port: Number(port), secure: false, ...more });
try {
  const info = await transport.sendMail({
    from: "Alice <alice@example.org>",
    to,
    subject: "Grüße",
    text: ".\nA line that is a dot was before this one.\n",
    html: "<p>Grüße</p>",
    attachments: [{ filename: "Anhang ü.bin", path }],
  });
  console.log(JSON.stringify({ accepted: info.accepted, response: info.response }));
} catch (error) {
  console.log(JSON.stringify({ code: error.responseCode, response: error.response }));
}
