/** A replica in a process of its own whose clock is off by CHAOS_SKEW_MS: every clock that its modules can read. */
const skewMs = Number(process.env['CHAOS_SKEW_MS'] ?? '0');

if (skewMs !== 0) {
  const RealDate = Date;
  const now = () => RealDate.now() + skewMs;
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args: unknown[]) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args) as object,
    get: (target, name, receiver) => (name === 'now' ? now : Reflect.get(target, name, receiver)),
  });
}

await import('../e2e/rolling-child.ts');
