// Sends through Nodemailer's pool and prints how many milliseconds it took: nodemailer.js HOST PORT MESSAGES SIZE CALLERS RECIPIENTS
"use strict";
const nodemailer = require("../target/peers/nodemailer");

const host = process.argv[2];
const [port, messages, size, callers, recipients] = process.argv.slice(3).map(Number);
const mailer = nodemailer.createTransport({
  host,
  port,
  ignoreTLS: true,
  pool: true,
  maxConnections: callers,
  maxMessages: Infinity,
});
const envelope = {
  from: "alice@example.org",
  to: Array.from({ length: recipients }, (_, number) => `bob${number + 1}@example.net`),
};
const head = "Message-ID: <00000000@bench>\r\nFrom: alice@example.org\r\nTo: bob@example.net\r\nSubject: bench\r\n\r\n";
const line = "It is a truth universally acknowledged, that a single line in want of an\r\n";
const room = Math.max(size - head.length - 2, 0);
const raw = Buffer.from(head + line.repeat(Math.ceil(room / line.length)).slice(0, room).trimEnd() + "\r\n");

async function race(count) {
  let next = 0;
  const caller = async () => {
    while (next < count) {
      next += 1;
      await mailer.sendMail({ envelope, raw });
    }
  };
  const began = process.hrtime.bigint();
  await Promise.all(Array.from({ length: callers }, caller));
  return Number(process.hrtime.bigint() - began) / 1e6;
}

race(callers)
  .then(() => race(messages))
  .then((milliseconds) => {
    console.log(milliseconds);
    mailer.close();
  })
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
