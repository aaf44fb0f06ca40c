// Node's own http2, with extended CONNECT: server.js PORT CERT KEY. SIGUSR2: GOAWAY, and its streams go on.
const http2 = require('http2'), fs = require('fs');
const [port, cert, key] = process.argv.slice(2);
const server = http2.createSecureServer({
  cert: fs.readFileSync(cert), key: fs.readFileSync(key), allowHTTP1: true,
  settings: { enableConnectProtocol: true, maxConcurrentStreams: 1000 },
});

// `first` is the opcode, and 0x80 but for fragments that others follow.
function frame(first, payload) {
  let head;
  if (payload.length < 126) {
    head = Buffer.from([first, payload.length]);
  } else if (payload.length < 65536) {
    head = Buffer.alloc(4); head[0] = first; head[1] = 126; head.writeUInt16BE(payload.length, 2);
  } else {
    head = Buffer.alloc(10); head[0] = first; head[1] = 127; head.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  return Buffer.concat([head, payload]);
}

// The next frame in a buffer: its first byte and its opcode, its payload, and where it ends; null if it is not whole.
function parse(buffer) {
  if (buffer.length < 2) return null;
  let length = buffer[1] & 127, at = 2;
  if (length === 126) { if (buffer.length < 4) return null; length = buffer.readUInt16BE(2); at = 4; }
  else if (length === 127) { if (buffer.length < 10) return null; length = Number(buffer.readBigUInt64BE(2)); at = 10; }
  if (buffer.length < at + 4 + length) return null;
  const mask = buffer.subarray(at, at + 4), payload = Buffer.from(buffer.subarray(at + 4, at + 4 + length));
  for (let i = 0; i < length; i++) payload[i] ^= mask[i & 3];
  return { first: buffer[0], opcode: buffer[0] & 15, payload, end: at + 4 + length };
}

function speak(stream, path) {
  let buffer = Buffer.alloc(0);
  const write = data => { if (!stream.destroyed && !stream.writableEnded) stream.write(data); };
  stream.on('error', () => {});
  if (path === '/close') write(frame(0x88, Buffer.from([0x0f, 0xa1, 0x62, 0x79, 0x65])));
  stream.on('data', data => {
    buffer = Buffer.concat([buffer, data]);
    for (let got; (got = parse(buffer)); buffer = buffer.subarray(got.end)) {
      if (got.opcode === 8) { if (path !== '/close') write(frame(0x88, got.payload)); stream.end(); }
      else if (got.opcode === 9) write(frame(0x8a, got.payload));
      else if (got.opcode !== 10) write(frame(got.first, got.payload));
    }
  });
}

server.on('stream', (stream, headers) => {
  const path = headers[':path'];
  const refuse = (status, fields, body) => { stream.respond({ ':status': status, ...fields }); stream.end(body); };
  if (headers[':protocol'] !== 'websocket') return refuse(404, {}, 'not here');
  if (path === '/auth' && headers.authorization !== 'Basic dTpw') return refuse(401, { 'www-authenticate': 'Basic realm="x"' }, 'who are you?');
  if (path === '/deny') return refuse(403, {}, 'denied');
  if (path === '/redirect') return refuse(307, { location: '/' }, '');
  stream.respond({ ':status': 200 });
  speak(stream, path);
});

const sessions = new Set();
server.on('session', session => { sessions.add(session); session.on('close', () => sessions.delete(session)); });
process.on('SIGUSR2', () => { for (const session of sessions) session.close(); });
server.listen(+port, '127.0.0.1');
