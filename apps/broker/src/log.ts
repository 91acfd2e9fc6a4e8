import pino from 'pino';

/** Keys whose values never reach a log line, at any of the depths that we log. A test feeds each of them. */
export const redactedKeys = [
  'access_token',
  'subject_token',
  'actor_token',
  'task_token',
  'taskToken',
  'token',
  'assertion',
  'authorization',
  'cookie',
  'credential',
  'password',
  'secret',
  'SecretAccessKey',
  'SessionToken',
  'secretAccessKey',
  'sessionToken',
  'privateKey',
  'databaseUrl',
] as const;

export type Log = pino.Logger;

/** JSON lines on standard error, or into a file. Times in RFC 3339. */
export function createLog(options: { level: string; file?: string | undefined }): Log {
  const paths = redactedKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`, `*.*.*.${key}`]);
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths, censor: '[secret]' },
      serializers: { err: describeError, cause: describeError },
    },
    pino.destination({ dest: options.file ?? 2, sync: true, mkdir: true }),
  );
}

/** Name, message and the chain of causes; never properties, which may hold request bodies. */
export function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: 'not an Error' };
  const { name, message, stack, cause } = error;
  return { name, message, stack, ...(cause === undefined ? {} : { cause: describeError(cause) }) };
}
