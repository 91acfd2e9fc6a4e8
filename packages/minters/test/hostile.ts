import { createServer, type ServerResponse } from 'node:http';

/** A cloud that answers without end, or sends its caller elsewhere. */
export interface Hostile {
  readonly url: string;
  /** `METHOD path` of each request, and whether it brought a bearer. */
  readonly asked: { readonly what: string; readonly bearer: boolean }[];
  /** How much was taken of the answers so far. */
  readonly taken: () => number;
  /** Settles with the next request. */
  next(): Promise<void>;
  close(): Promise<void>;
}

const wholeBytes = 30 * 1024 * 1024;
const piece = Buffer.alloc(64 * 1024, 'a');

export type HostileAnswer = 'huge' | 'endless' | { readonly redirect: string };

export async function startHostile(answer: HostileAnswer): Promise<Hostile> {
  const asked: { what: string; bearer: boolean }[] = [];
  let [taken, arrived] = [0, Promise.withResolvers<void>()];
  const pour = (response: ServerResponse) => {
    let left = wholeBytes;
    const more = () => {
      while (left > 0 && !response.destroyed) {
        left -= piece.length;
        taken += piece.length;
        if (!response.write(piece)) return void response.once('drain', more);
      }
      response.end();
    };
    more();
  };
  const server = createServer((request, response) => {
    const { method, url, headers } = request;
    asked.push({ what: `${method} ${url}`, bearer: headers.authorization !== undefined });
    request.resume();
    if (typeof answer === 'object') response.writeHead(307, { location: answer.redirect }).end();
    else {
      response.writeHead(200, { 'content-type': 'application/json' });
      if (answer === 'huge') pour(response);
      else response.write('{');
    }
    arrived.resolve();
    arrived = Promise.withResolvers();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  return {
    url: `http://127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}`,
    asked,
    taken: () => taken,
    next: () => arrived.promise,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
