/** Requests of one flight; a longer statement would hold its grant locks for longer than it saves. */
const flightSizeMax = 64;
/** Two flights: one commits while the next fills. More only fight for the same cores (docs/architecture.md). */
const flightsMax = 2;

interface Waiting<In, Out> {
  readonly item: In;
  resolve(value: Out): void;
  reject(error: unknown): void;
}

export interface BatchOptions<In, Out> {
  /** One statement for all; answers in the order of its input. */
  together(items: readonly In[]): Promise<readonly Out[]>;
  alone(item: In): Promise<Out>;
  /** Lock order: the same for every batch. */
  order(left: In, right: In): number;
}

/**
 * Runs concurrent requests as one statement: a flight leaves as soon as one of two is free, without a timer, so an
 * idle broker adds no latency. When a flight fails as a whole, its members are tried one by one.
 */
export function createBatch<In, Out>(options: BatchOptions<In, Out>): (item: In) => Promise<Out> {
  const waiting: Waiting<In, Out>[] = [];
  let flying = 0;

  const fly = async (flight: readonly Waiting<In, Out>[]) => {
    const [first] = flight;
    if (first !== undefined && flight.length === 1)
      return options.alone(first.item).then(first.resolve, first.reject);
    try {
      const results = await options.together(flight.map(({ item }) => item));
      for (const [index, { resolve, reject }] of flight.entries()) {
        const result = results[index];
        if (result === undefined) reject(new RangeError('a batch answered too few results'));
        else resolve(result);
      }
    } catch (error) {
      if (!isRetriable(error)) for (const { reject } of flight) reject(error);
      else for (const { item, resolve, reject } of flight) await options.alone(item).then(resolve, reject);
    }
  };

  const depart = () => {
    while (flying < flightsMax && waiting.length > 0) {
      const flight = waiting
        .splice(0, flightSizeMax)
        .sort((left, right) => options.order(left.item, right.item));
      flying += 1;
      void fly(flight).finally(() => {
        flying -= 1;
        depart();
      });
    }
  };

  return (item) =>
    new Promise<Out>((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      depart();
    });
}

// The server answered with an error: nothing of the statement was applied. A lost connection is not known.
function isRetriable(error: unknown): boolean {
  return typeof Reflect.get(Object(error), 'severity') === 'string';
}
