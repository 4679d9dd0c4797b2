// SPDX-License-Identifier: Apache-2.0

// Serves with Node's http2 server: node node_server.js [CERTIFICATE FILE, KEY FILE]. Writes its port as its first line, and
// ends when its standard input does.
'use strict';
const fs = require('node:fs');
const http2 = require('node:http2');

const [certificate, key] = process.argv.slice(2);
const settings = {settings: {maxConcurrentStreams: 20}};
const server = certificate
  ? http2.createSecureServer({...settings, cert: fs.readFileSync(certificate), key: fs.readFileSync(key)})
  : http2.createServer(settings);
const sessions = new Set();
server.on('session', (session) => {
  sessions.add(session);
  session.on('close', () => sessions.delete(session));
});

let refused = 0, aborted = 0;
const routes = {
  // The body, and the trailers of the request.
  '/echo'(stream, headers) {
    let trailers = {};
    stream.on('trailers', (received) => { trailers = {'x-sum': received['x-sum'], 'x-more': 'more'}; });
    if (headers.expect === '100-continue') stream.additionalHeaders({':status': 100});
    stream.respond({':status': 200, 'x-method': headers[':method']}, {waitForTrailers: true});
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.pipe(stream);
  },
  '/hints'(stream) {
    stream.additionalHeaders({':status': 103, link: '</style.css>; rel=preload'});
    stream.respond({':status': 204}, {endStream: true});
  },
  '/reset'(stream) {
    stream.respond({':status': 200});
    stream.write('something');
    setImmediate(() => stream.destroy(new Error('on purpose'))); // INTERNAL_ERROR
  },
  // The first attempt of each is refused.
  '/refuse'(stream) {
    if (++refused % 2 === 1) {
      stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
      return;
    }
    stream.respond({':status': 200});
    stream.end('second attempt');
  },
  // Answers, and lets the connection end.
  '/goaway'(stream) {
    stream.respond({':status': 200});
    stream.end('last');
    stream.session.close();
  },
  '/wait'(stream) {
    stream.respond({':status': 200});
    stream.write('waiting');
    stream.on('aborted', () => { aborted++; });
  },
  '/push'(stream) {
    stream.respond({':status': 200});
    stream.end(String(stream.pushAllowed));
  },
  '/aborted'(stream) {
    stream.respond({':status': 200});
    stream.end(String(aborted));
  },
  // gRPC by hand: two messages of three zeros, and the end in trailers.
  '/grpc.testing.TestService/StreamingOutputCall'(stream) {
    stream.respond({':status': 200, 'content-type': 'application/grpc+proto'}, {waitForTrailers: true});
    stream.on('wantTrailers', () => stream.sendTrailers({'grpc-status': '8', 'grpc-message': 'that is all'}));
    const message = Buffer.from([0, 0, 0, 0, 7, 0x0a, 5, 0x12, 3, 0, 0, 0]);
    stream.write(message);
    stream.end(message);
  },
  // Connect by hand.
  '/grpc.testing.TestService/UnaryCall'(stream) {
    let size = 0;
    stream.on('data', (data) => { size += data.length; });
    stream.on('end', () => {
      stream.respond({':status': 200, 'content-type': 'application/json', 'trailer-x-size': String(size)});
      stream.end('{"payload":{"body":"AAAA"}}');
    });
  },
};
server.on('stream', (stream, headers) => {
  stream.on('error', () => {}); // of streams that were reset
  if (stream.destroyed) return; // one too many, begun before the client knew the limit
  const route = routes[headers[':path']];
  if (route === undefined) {
    stream.respond({':status': 404}, {endStream: true});
    return;
  }
  route(stream, headers);
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on('end', () => {
  server.close();
  for (const session of sessions) session.destroy();
});
