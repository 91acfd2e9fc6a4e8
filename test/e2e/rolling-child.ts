import { completeConfig, createLog, startBroker } from '@mayfly/broker';

/** A replica in a process of its own: settings and log file from the environment; SIGTERM drains it. */
const { settings, logFile } = JSON.parse(process.env['ROLLING_CHILD'] ?? '{}');
const running = await startBroker({
  config: completeConfig(settings),
  env: {},
  environment: 'dev',
  log: createLog({ level: 'info', file: logFile }),
});
process.once('SIGTERM', () => void running.stop().then(() => process.exit(0)));
process.stdout.write('READY\n');
