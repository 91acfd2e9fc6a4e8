import { connect, createServer, type Socket } from 'node:net';

/** A TCP proxy: connections can be cut, held back, or left without an answer, and what is behind may move. */
export interface FaultProxy {
  readonly port: number;
  target(port: number): void;
  /** Every connection that is open now breaks. */
  cut(): void;
  /** Each piece waits so long, in both directions. */
  delay(ms: number): void;
  /** While it lasts nothing passes, in neither direction; what came meanwhile is lost with its connections. */
  blackHole(on: boolean): void;
  close(): Promise<void>;
}

export async function startProxy(): Promise<FaultProxy> {
  let [targetPort, delayMs, isHole] = [0, 0, false];
  const open = new Set<Socket>();
  const forward = (from: Socket, to: Socket) => {
    from.on('data', (piece) => {
      if (isHole) return;
      if (delayMs === 0) return void to.write(piece);
      // In order: the next piece is not read before this one has gone on.
      from.pause();
      setTimeout(() => {
        if (!to.destroyed) to.write(piece);
        from.resume();
      }, delayMs);
    });
    from.on('close', () => {
      open.delete(from);
      to.destroy();
    });
    from.on('error', () => undefined);
  };
  const server = createServer((client) => {
    const upstream = connect(targetPort, '127.0.0.1');
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      open.add(socket);
    }
    forward(client, upstream);
    forward(upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  return {
    port: typeof bound === 'object' ? (bound?.port ?? 0) : 0,
    target: (port) => {
      targetPort = port;
    },
    cut,
    delay: (ms) => {
      delayMs = ms;
    },
    blackHole: (on) => {
      isHole = on;
      // What was swallowed would be missed in the middle of a stream.
      if (!on) cut();
    },
    close: async () => {
      cut();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
