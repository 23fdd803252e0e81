// Drives the published HPKV client: client.mjs FOLDER, where FOLDER has it among its node_modules.
// Takes one command a line as JSON on standard input, and says what came of it as one line of JSON each:
//   {"id", "open": NAME, "url", "apiKey" | "token", "options"?}   makes a client; its events and notifications follow as they come
//   {"id", "on": NAME, "call": METHOD, "with": [ARGUMENT…]}       calls it
//   {"id", "token": {…}, "url", "apiKey"}                         asks for a token
//   {"id", "throw": NAME}                                         makes the client's subscriber fail from now on
// Ends with its input.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { join } from "node:path";

const { HPKVClientFactory, WebsocketTokenManager } = createRequire(join(process.argv[2], "package.json"))("@hpkv/websocket-client");
const clients = new Map();
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const describe = (error) => ({ name: error?.name, code: error?.code, message: error?.message });

function open({ open: name, url, apiKey, token, options }) {
  const client = token
    ? HPKVClientFactory.createSubscriptionClient(token, url, options)
    : HPKVClientFactory.createApiClient(apiKey, url, options);
  const held = { client, fails: false };
  for (const event of ["connected", "disconnected", "reconnecting", "reconnectFailed"]) {
    client.on(event, () => say({ from: name, event }));
  }
  client.on("error", (error) => say({ from: name, event: "error", error: describe(error) }));
  if (token) {
    client.subscribe((notification) => {
      say({ from: name, notification });
      if (held.fails) throw new Error("a subscriber that fails");
    });
  }
  clients.set(name, held);
}

async function carry(command) {
  if (command.open) return open(command);
  if (command.throw) return void (clients.get(command.throw).fails = true);
  if (command.token) return new WebsocketTokenManager(command.apiKey, command.url).generateToken(command.token);
  const { client } = clients.get(command.on);
  return client[command.call](...(command.with ?? []));
}

process.on("uncaughtException", (error) => say({ uncaught: describe(error) }));
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  // Not waited for, so that calls can be under way together.
  carry(command).then(
    (result) => say({ id: command.id, result: result ?? null }),
    (error) => say({ id: command.id, error: describe(error) }),
  );
}
process.exit(0);
