// Node's own HTTP/2: many calls at once, a request and an answer larger than any window, a page, and a call taken back.
// Usage: node http2_client.mjs ORIGIN; prints what it found, as JSON.
import http2 from 'node:http2';

const KV = '/etcdserverpb.KV/';
const LARGE_BYTES = 1 << 20;
const CALLS = 200;

function varint(number) {
  const bytes = [];
  for (; number >= 0x80; number = Math.floor(number / 128)) bytes.push(number % 128 | 0x80);
  return Buffer.from([...bytes, number]);
}

function field(number, content) {
  return Buffer.concat([Buffer.from([number << 3 | 2]), varint(content.length), content]);
}

function framed(message) {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

function call(session, path, message) {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers',
    });
    const parts = [];
    let status;
    stream.on('data', (part) => parts.push(part));
    stream.on('trailers', (trailers) => { status = trailers['grpc-status']; });
    stream.on('end', () => resolve({ status, body: Buffer.concat(parts) }));
    stream.on('error', reject);
    stream.end(framed(message));
  });
}

function page(session, path) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': path });
    let body = '';
    let status;
    stream.setEncoding('utf8');
    stream.on('response', (headers) => { status = headers[':status']; });
    stream.on('data', (part) => { body += part; });
    stream.on('end', () => resolve({ status, body }));
    stream.on('error', reject);
    stream.end();
  });
}

const session = http2.connect(process.argv[2], { rejectUnauthorized: false });
session.on('error', (error) => { console.error(error); process.exit(1); });

const large = Buffer.alloc(LARGE_BYTES, 'x');
const key = (number) => field(1, Buffer.from(`node/${number}`));
const puts = await Promise.all(Array.from({ length: CALLS }, (_, number) =>
  call(session, `${KV}Put`, Buffer.concat([key(number), field(2, Buffer.from('value'))]))));
for (let number = 0; number < 4; number += 1) {
  puts.push(await call(session, `${KV}Put`, Buffer.concat([key(`large/${number}`), field(2, large)])));
}
const taken = session.request({ ':method': 'POST', ':path': `${KV}Put`, 'content-type': 'application/grpc' });
taken.on('error', () => {});
taken.close(http2.constants.NGHTTP2_CANCEL);
const range = await call(session, `${KV}Range`, Buffer.concat([
  field(1, Buffer.from('node/')), field(2, Buffer.from('node0')),
]));
const pinged = await new Promise((resolve) => { session.ping((error) => resolve(!error)); });
const version = await page(session, '/version');
console.log(JSON.stringify({
  protocol: session.alpnProtocol,
  statuses: [...new Set([...puts.map((each) => each.status), range.status])],
  puts: puts.length,
  rangeBytes: range.body.length,
  pinged,
  version,
}));
session.close();
