import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Prometheus metrics; labels come only from closed lists (reasons, kinds), never from requests. */
export function createMetrics(insecure: readonly string[]) {
  const registry = new Registry();
  const registers = [registry];
  const help = 'Settings that weaken this installation';
  const weak = new Gauge({ name: 'mayfly_insecure', help, labelNames: ['setting'], registers });
  for (const setting of insecure) weak.set({ setting }, 1);
  return {
    registry,
    exchanges: new Counter({
      name: 'mayfly_exchanges_total',
      help: 'Exchanges by provider kind and outcome (delivered or the reason of the refusal)',
      labelNames: ['outcome'],
      registers,
    }),
    exchangeSeconds: new Histogram({
      name: 'mayfly_exchange_seconds',
      help: 'Duration of POST /token',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    }),
    requests: new Counter({
      name: 'mayfly_http_requests_total',
      help: 'Requests by route and status',
      labelNames: ['route', 'status'],
      registers,
    }),
    securityEvents: new Counter({
      name: 'mayfly_security_events_total',
      help: 'Security events by what became of them (received, seen, or the reason of the refusal)',
      labelNames: ['result'],
      registers,
    }),
    inFlight: new Gauge({ name: 'mayfly_http_in_flight', help: 'Requests being served', registers }),
    ...reaperMetrics(registers),
    recoveryRequired: new Gauge({
      name: 'mayfly_recovery_required',
      help: '1 while the database is an older state than was known, and nothing is issued',
      registers,
    }),
    alarms: new Counter({
      name: 'mayfly_alarms_total',
      help: 'Things that should not happen and need a person',
      labelNames: ['kind'],
      registers,
    }),
  };
}

/** What the reaper has done, and what it has before it. */
function reaperMetrics(registers: Registry[]) {
  return {
    reaped: new Counter({
      name: 'mayfly_reaper_work_total',
      help: 'Claimed work by result',
      labelNames: ['result'],
      registers,
    }),
    reaperLookedAt: new Gauge({
      name: 'mayfly_reaper_last_pass_timestamp_seconds',
      help: 'When the reaper last looked at what is due',
      registers,
    }),
    providersAway: new Gauge({
      name: 'mayfly_reaper_providers_away',
      help: 'Providers that this replica asks by one call at a time, because they are away',
      registers,
    }),
    reaperDue: new Gauge({
      name: 'mayfly_reaper_due',
      help: 'Work that is due by provider, tasks as `tasks`; counted up to 10,000',
      labelNames: ['lane'],
      registers,
    }),
    reaperLagSeconds: new Gauge({
      name: 'mayfly_reaper_lag_seconds',
      help: 'How long the oldest due work has waited, by provider',
      labelNames: ['lane'],
      registers,
    }),
    unconfirmed: new Gauge({
      name: 'mayfly_ends_unconfirmed',
      help: 'Ends that were asked for and that a provider has yet to confirm; counted up to 10,000',
      registers,
    }),
    irrevocable: new Gauge({
      name: 'mayfly_ends_irrevocable',
      help: 'Credentials of ended tasks that only their expiry ends; among the 10,000 ends asked for first',
      registers,
    }),
    oldestUnconfirmedSeconds: new Gauge({
      name: 'mayfly_ends_oldest_unconfirmed_seconds',
      help: 'Age of the oldest end that was asked for and is not confirmed',
      registers,
    }),
  };
}

export type Metrics = ReturnType<typeof createMetrics>;
