// A key-value service with the plain HPKV words and nothing of ours: service.mjs FOLDER, where FOLDER has `ws` among its node_modules.
// Says {"port"} once it listens. The API key is "key"; a token is what `POST /token/websocket` gives. Takes commands as JSON, one a line:
//   {"say": TEXT}        sends this text on every connection, whatever it is
//   {"binary": BASE64}   sends these bytes
//   {"drop": true}       ends every connection without a word
//   {"close": CODE}      closes every connection
//   {"busy": N}          answers the next N requests with 429
//   {"mute": true}       carries requests out, but does not answer them
// Says {"request"} for each request it has carried out.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { join } from "node:path";

const { WebSocketServer } = createRequire(join(process.argv[2], "package.json"))("ws");
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const records = new Map();
const tokens = new Map();
const connections = new Map();
let busy = 0;
let mute = false;

const matches = (pattern, key) => pattern === key || (pattern.endsWith("*") && key.startsWith(pattern.slice(0, -1)));
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const merge = (target, patch) => {
  const merged = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name];
    else merged[name] = isObject(value) ? merge(merged[name], value) : value;
  }
  return merged;
};
const parse = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

function changed(key) {
  const value = records.get(key) ?? null;
  for (const [socket, { subscribe }] of connections) {
    if (subscribe.some((pattern) => matches(pattern, key))) {
      socket.send(JSON.stringify({ type: "notification", key, value, timestamp: Date.now() }));
    }
  }
}

function carry({ op, key, value, endKey, limit }, access) {
  if (!key) return { code: 400, error: "Key is required" };
  if (access && !matches(access, key)) return { code: 403, error: "Access denied" };
  const missing = { code: 404, error: "Record not found" };
  switch (op) {
    case 1:
      return records.has(key) ? { code: 200, key, value: records.get(key) } : missing;
    case 2:
      if (!value) return { code: 400, error: "Value is required" };
      records.set(key, value);
      break;
    case 3: {
      if (!records.has(key)) return missing;
      const [before, patch] = [parse(records.get(key)), parse(value)];
      records.set(key, isObject(before) && isObject(patch) ? JSON.stringify(merge(before, patch)) : records.get(key) + value);
      break;
    }
    case 4:
      if (!records.delete(key)) return missing;
      break;
    case 5: {
      const found = [...records].filter(([name]) => key <= name && name <= endKey).sort(([a], [b]) => (a < b ? -1 : 1));
      const given = found.slice(0, limit ?? 100).map(([key, value]) => ({ key, value }));
      return { code: 200, records: given, count: given.length, truncated: given.length < found.length };
    }
    case 6: {
      const newValue = Number(records.get(key) ?? 0) + value;
      records.set(key, String(newValue));
      changed(key);
      return { code: 200, success: true, key, newValue };
    }
    default:
      return { code: 400, error: "Unknown operation" };
  }
  changed(key);
  return { code: 200, success: true };
}

const server = createServer((request, response) => {
  const answer = (status, body) => response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
  if (request.method !== "POST" || request.url !== "/token/websocket") return answer(404, { error: "Not found" });
  if (request.headers["x-api-key"] !== "key") return answer(403, { error: "Invalid API key" });
  let body = "";
  request.on("data", (piece) => (body += piece));
  request.on("end", () => {
    const { subscribePatterns = [], accessPattern } = parse(body) ?? {};
    const token = `token-${tokens.size + 1}`;
    tokens.set(token, { subscribe: subscribePatterns, access: accessPattern });
    answer(200, { token });
  });
});
const websockets = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) => {
  const { pathname, searchParams } = new URL(request.url, "http://localhost");
  const rights = searchParams.get("apiKey") === "key" ? { subscribe: [] } : tokens.get(searchParams.get("token"));
  if (pathname !== "/ws" || !rights) return socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  websockets.handleUpgrade(request, socket, head, (websocket) => {
    connections.set(websocket, rights);
    websocket.on("close", () => connections.delete(websocket));
    websocket.on("error", () => connections.delete(websocket));
    websocket.on("message", (data) => {
      const words = parse(data.toString());
      const { op, key, messageId } = words ?? {};
      if (busy > 0) {
        busy -= 1;
        return websocket.send(JSON.stringify({ code: 429, error: "Rate limit exceeded", messageId }));
      }
      const answer = carry(words ?? {}, rights.access);
      say({ request: { op, key, messageId } });
      if (!mute) websocket.send(JSON.stringify({ ...answer, messageId }));
    });
  });
});
server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if ("busy" in command) busy = command.busy;
  if ("mute" in command) mute = command.mute;
  for (const websocket of connections.keys()) {
    if ("say" in command) websocket.send(command.say);
    if ("binary" in command) websocket.send(Buffer.from(command.binary, "base64"));
    if ("drop" in command) websocket.terminate();
    if ("close" in command) websocket.close(command.close);
  }
}
process.exit(0);
