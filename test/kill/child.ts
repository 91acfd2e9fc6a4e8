import { createInterface } from 'node:readline';
import { completeConfig, createLog, startBroker } from '@mayfly/broker';

// A broker in a process of its own. Lines on standard input arm a barrier (`PORT.METHOD before|after NTH`); when the
// NTH such call from now on reaches it, `AT ...` is printed and the call never goes on: the parent kills the process.
const { settings, logFile } = JSON.parse(process.env['KILL_CHILD'] ?? '{}');
let armed: { name: string; side: string; left: number } | undefined;
const methods: string[] = [];

async function barrier(name: string, side: string): Promise<void> {
  if (armed?.name !== name || armed.side !== side) return;
  armed.left -= 1;
  if (armed.left > 0) return;
  process.stdout.write(`AT ${name} ${side}\n`);
  await new Promise(() => setInterval(() => undefined, 60_000));
}

function decorate<Port extends object>(portName: string, port: Port): Port {
  return new Proxy(port, {
    get(target, key, receiver) {
      const value: unknown = Reflect.get(target, key, receiver);
      if (typeof value !== 'function' || typeof key !== 'string') return value;
      const name = `${portName}.${key}`;
      // plan and base are pure and synchronous, inspect only looks: no effect to be killed at.
      if (portName.startsWith('minter.') && !['mint', 'revoke', 'watch'].includes(key))
        return value.bind(target);
      return async (...args: unknown[]) => {
        await barrier(name, 'before');
        const result: unknown = await value.apply(target, args);
        await barrier(name, 'after');
        return result;
      };
    },
  });
}

function list<Port extends object>(portName: string, port: Port): Port {
  for (const key of Object.keys(port))
    if (typeof Reflect.get(port, key) === 'function') methods.push(`${portName}.${key}`);
  return decorate(portName, port);
}

const running = await startBroker({
  config: completeConfig(settings),
  env: {},
  environment: 'dev',
  log: createLog({ level: 'info', file: logFile }),
  decorate: list,
});
createInterface({ input: process.stdin }).on('line', (line) => {
  const [name = '', side = '', nth = '1'] = line.split(' ');
  armed = { name, side, left: Number.parseInt(nth, 10) };
  process.stdout.write(`ARMED ${line}\n`);
});
await running.broker.policies.refresh();
process.stdout.write(`READY ${JSON.stringify(methods)}\n`);
