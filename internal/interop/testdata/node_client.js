// SPDX-License-Identifier: Apache-2.0

// Calls a server with Node's http2 client: node node_client.js URL [CA FILE]. Writes a line of JSON for each case: its name,
// and why it failed if it did.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const http2 = require('node:http2');

const [url, authority] = process.argv.slice(2);
const session = http2.connect(url, authority ? {ca: fs.readFileSync(authority)} : {});
const service = '/grpc.testing.TestService/';

// call sends a request and resolves with everything that came back.
function call(headers, body, options) {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, {endStream: body === undefined, ...options});
    const reply = {informed: [], trailer: {}, body: Buffer.alloc(0)};
    stream.on('headers', (header) => reply.informed.push(header));
    stream.on('response', (header) => { reply.header = header; });
    stream.on('trailers', (trailer) => { reply.trailer = trailer; });
    stream.on('data', (data) => { reply.body = Buffer.concat([reply.body, data]); });
    stream.on('end', () => resolve(reply));
    stream.on('error', reject);
    stream.on('wantTrailers', () => stream.sendTrailers(options.trailers));
    if (body !== undefined) stream.end(body);
  });
}

function post(path, type, body, more) {
  return call({':method': 'POST', ':path': path, 'content-type': type, te: 'trailers', ...more}, body);
}

// envelope is one message of a stream.
function envelope(data, flags = 0) {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flags, 0);
  prefix.writeUInt32BE(data.length, 1);
  return Buffer.concat([prefix, Buffer.from(data)]);
}

// Each case is named for what it shows.
const cases = {
  async unary() {
    const reply = await post(service + 'UnaryCall', 'application/json', '{"responseSize":3}');
    assert.equal(reply.header[':status'], 200);
    assert.deepEqual(JSON.parse(reply.body), {payload: {body: 'AAAA'}});
  },

  async grpc_trailers() {
    const request = Buffer.from([0x10, 0x03]); // response_size (2): 3
    const reply = await post(service + 'UnaryCall', 'application/grpc+proto', envelope(request), {'x-grpc-test-echo-trailing-bin': 'q6ur'});
    assert.equal(reply.header[':status'], 200);
    assert.deepEqual([...reply.body], [0, 0, 0, 0, 7, 0x0a, 5, 0x12, 3, 0, 0, 0]);
    assert.equal(reply.trailer['grpc-status'], '0');
    assert.equal(reply.trailer['x-grpc-test-echo-trailing-bin'], 'q6ur');
  },

  async grpc_error() {
    const status = Buffer.from([0x3a, 6, 8, 5, 0x12, 2, 0x6e, 0x6f]); // response_status (7): code 5, message "no"
    const reply = await post(service + 'UnaryCall', 'application/grpc', envelope(status));
    const end = {...reply.header, ...reply.trailer};
    assert.equal(end['grpc-status'], '5');
    assert.equal(end['grpc-message'], 'no');
  },

  // Each message goes up only after the answer to the one before is here.
  async ping_pong() {
    const stream = session.request({':method': 'POST', ':path': service + 'FullDuplexCall', 'content-type': 'application/connect+json'});
    let received = Buffer.alloc(0), answers = 0;
    const ask = () => stream.write(envelope(JSON.stringify({responseParameters: [{size: ++answers}]})));
    await new Promise((resolve, reject) => {
      stream.on('data', (data) => {
        received = Buffer.concat([received, data]);
        while (received.length >= 5 && received.length >= 5 + received.readUInt32BE(1)) {
          const flags = received.readUInt8(0);
          const message = JSON.parse(received.subarray(5, 5 + received.readUInt32BE(1)));
          received = received.subarray(5 + received.readUInt32BE(1));
          if (flags === 2) {
            assert.deepEqual(message, {});
          } else {
            assert.equal(Buffer.from(message.payload.body, 'base64').length, answers);
            if (answers < 20) ask(); else stream.end();
          }
        }
      });
      stream.on('end', resolve);
      stream.on('error', reject);
      ask();
    });
    assert.equal(answers, 20);
    assert.equal(received.length, 0);
  },

  // More than the windows hold, in both directions at once.
  async large() {
    const body = Buffer.alloc(5 << 20, 'x');
    const reply = await post('/echo', 'application/octet-stream', body);
    assert.equal(reply.header[':status'], 200);
    assert.ok(reply.body.equals(body));
  },

  // More than the server takes at a time: Node's client keeps them until there is room.
  async many() {
    const replies = await Promise.all(Array.from({length: 600}, (_, i) => post('/echo', 'text/plain', `request ${i}`)));
    replies.forEach((reply, i) => assert.equal(reply.body.toString(), `request ${i}`));
  },

  async trailers_both_ways() {
    const reply = await call({':method': 'POST', ':path': '/echo', trailer: 'x-sum'}, 'abc', {waitForTrailers: true, trailers: {'x-sum': '42'}});
    assert.equal(reply.body.toString(), 'abc');
    assert.equal(reply.trailer['x-sum'], '42');
  },

  async expect_continue() {
    const reply = await call({':method': 'POST', ':path': '/echo', expect: '100-continue'}, 'abc');
    assert.deepEqual(reply.informed.map((header) => header[':status']), [100]);
    assert.equal(reply.body.toString(), 'abc');
  },

  async early_hints() {
    const reply = await call({':path': '/hints'});
    assert.equal(reply.informed.length, 1);
    assert.equal(reply.informed[0][':status'], 103);
    assert.equal(reply.informed[0].link, '</style.css>; rel=preload');
    assert.equal(reply.header[':status'], 204);
    assert.equal(reply.body.length, 0);
  },

  async head() {
    const reply = await call({':method': 'HEAD', ':path': '/hello'});
    assert.equal(reply.header[':status'], 200);
    assert.equal(reply.header['content-length'], '5');
    assert.equal(reply.body.length, 0);
  },

  // The handler learns that this client has gone: it says so on the next request.
  async cancel() {
    await new Promise((resolve, reject) => {
      const stream = session.request({':path': '/wait'});
      stream.on('response', () => stream.close(http2.constants.NGHTTP2_CANCEL));
      stream.on('close', resolve);
      stream.on('error', reject);
    });
    const reply = await call({':path': '/gone'});
    assert.equal(reply.body.toString(), 'context canceled');
  },

  async panic() {
    await assert.rejects(call({':path': '/panic'}), {code: 'ERR_HTTP2_STREAM_ERROR', message: /NGHTTP2_INTERNAL_ERROR/});
  },

  async ping() {
    await new Promise((resolve, reject) => session.ping((err) => (err ? reject(err) : resolve())));
  },

  async settings() {
    await new Promise((resolve, reject) => session.settings({initialWindowSize: 10, maxFrameSize: 1 << 15, headerTableSize: 0},
      (err) => (err ? reject(err) : resolve())));
    const reply = await post('/echo', 'text/plain', 'in pieces of ten bytes, as the window is so small');
    assert.equal(reply.body.toString(), 'in pieces of ten bytes, as the window is so small');
  },
};

(async () => {
  for (const [name, run] of Object.entries(cases)) {
    let failure = '';
    try {
      await run();
    } catch (err) {
      failure = err.stack;
    }
    console.log(JSON.stringify({name, failure}));
  }
  session.close();
})();
session.on('error', (err) => {
  console.log(JSON.stringify({name: 'session', failure: err.stack}));
  process.exit(1);
});
