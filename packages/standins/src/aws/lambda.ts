import type { IncomingMessage } from 'node:http';
import { arnOf, authorize, type Caller } from './authorize.ts';
import { AwsError } from './errors.ts';

/** `POST /2015-03-31/functions/NAME/invocations`, NAME being a name or an ARN, with or without a qualifier. */
const invocation = /^\/2015-03-31\/functions\/([^/?]+)\/invocations(?:\?(.*))?$/;

export interface LambdaAnswer {
  readonly payload: string;
  readonly version: string;
}

export function isInvocation({ url = '' }: IncomingMessage): boolean {
  return invocation.test(url);
}

/** Decides by the ARN as it is asked for: `f` does not stand for `f:prod`, nor the other way round. */
export function invoke(caller: Caller, { url = '' }: IncomingMessage, body: Buffer): LambdaAnswer {
  const [, encoded = '', query = ''] = invocation.exec(url) ?? [];
  const named = decodeURIComponent(encoded).replace(/^arn:aws:lambda:[^:]*:[^:]*:function:/, '');
  const [name = '', inName] = named.split(':');
  const qualifier = new URLSearchParams(query).get('Qualifier') ?? inName;
  const id = qualifier === undefined ? name : `${name}:${qualifier}`;
  authorize(caller, {
    action: 'lambda:InvokeFunction',
    resource: arnOf(caller.state, 'lambda', `function:${id}`),
  });
  const found = caller.state.functions.get(id);
  if (found === undefined) throw new AwsError('ResourceNotFoundException', 404, `Function not found: ${id}`);
  return { payload: JSON.stringify(found(body.toString('utf8'))), version: qualifier ?? '$LATEST' };
}
