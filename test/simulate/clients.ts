import type { BrokerPorts, Surroundings } from './ports.ts';

/** A load balancer before the replicas: the answer, or that there was none (connection lost, or the client gave up). */
export type Ask = <T>(name: string, run: (ports: BrokerPorts) => Promise<T>) => Promise<T | 'no answer'>;

export interface Clients
  extends Pick<Surroundings, 'scheduler' | 'store' | 'oracles' | 'documents' | 'trace'> {
  ask: Ask;
}

/** Steps between which a lease or a reap age passes now and then. */
export function drawRestMs({ scheduler: { random } }: Clients): number {
  return random.pick([0, 0, 300, 2_000, 2_000, 9_000, 25_000, 70_000]) * random.fraction();
}

/** Refusals and Faults are answers to whoever asks the API. */
export async function askFor(
  { ask, trace }: Clients,
  name: string,
  run: (ports: BrokerPorts) => Promise<unknown>,
): Promise<'answered' | 'no answer'> {
  const answer = await ask(name, async (ports) => {
    try {
      await run(ports);
    } catch (error) {
      trace?.(`   ${name}: ${String(Reflect.get(Object(error), 'reason') ?? error)}`);
    }
    return 'answered' as const;
  });
  return answer;
}
