import type { ServerResponse } from 'node:http';
import { type AwsError, escapeXml } from './errors.ts';
import type { FaultPlan } from './faults.ts';
import type { S3Answer } from './s3.ts';
import type { CallInfo } from './server.ts';
import type { Session } from './state.ts';

export type Outcome =
  | {
      readonly kind: 'query';
      readonly result: Readonly<Record<string, unknown>>;
      readonly session: Session | undefined;
    }
  | { readonly kind: 's3'; readonly answer: S3Answer }
  | { readonly kind: 'error'; readonly service: string; readonly error: AwsError };

const namespaces: Readonly<Record<string, string>> = {
  sts: 'https://sts.amazonaws.com/doc/2011-06-15/',
  iam: 'https://iam.amazonaws.com/doc/2010-05-08/',
};

interface Writing {
  readonly requestId: string;
  readonly call: CallInfo;
  readonly lie: FaultPlan['mode'] | undefined;
}

/** The wire forms: awsQuery XML for STS and IAM, REST XML for S3. */
export function writeOutcome(
  response: ServerResponse,
  outcome: Outcome,
  { requestId, call, lie }: Writing,
): void {
  if (outcome.kind === 's3') {
    const { status, headers, body } = outcome.answer;
    response.writeHead(status, { ...headers, 'x-amz-request-id': requestId }).end(body);
    return;
  }
  const { status, text } =
    outcome.kind === 'error'
      ? errorText(outcome.error, call, requestId)
      : { status: 200, text: resultText(outcome.result, { call, requestId, lie }) };
  response
    .writeHead(status, {
      'content-type': call.service === 's3' ? 'application/xml' : 'text/xml',
      'x-amzn-requestid': requestId,
    })
    .end(text);
}

function errorText(
  { code, status, message }: AwsError,
  { service }: CallInfo,
  requestId: string,
): { status: number; text: string } {
  const [c, m] = [escapeXml(code), escapeXml(message)];
  if (service === 's3')
    return {
      status,
      text: `<Error><Code>${c}</Code><Message>${m}</Message><RequestId>${requestId}</RequestId></Error>`,
    };
  const type = status < 500 ? 'Sender' : 'Receiver';
  const text = `<ErrorResponse xmlns="${namespaces[service]}"><Error><Type>${type}</Type><Code>${c}</Code><Message>${m}</Message></Error><RequestId>${requestId}</RequestId></ErrorResponse>`;
  return { status, text };
}

function resultText(result: Readonly<Record<string, unknown>>, { call, requestId, lie }: Writing): string {
  const { action, service } = call;
  const told = lie === 'lie_longer' || lie === 'lie_identity' ? lying(result, lie) : result;
  const inner = `<${action}Result>${element(told)}</${action}Result><ResponseMetadata><RequestId>${requestId}</RequestId></ResponseMetadata>`;
  return `<${action}Response xmlns="${namespaces[service]}">${inner}</${action}Response>`;
}

function lying(
  result: Readonly<Record<string, unknown>>,
  lie: 'lie_longer' | 'lie_identity',
): Record<string, unknown> {
  const credentials = Object(result['Credentials']);
  if (lie === 'lie_longer')
    return { ...result, Credentials: { ...credentials, Expiration: '2099-01-01T00:00:00Z' } };
  return {
    ...result,
    AssumedRoleUser: {
      AssumedRoleId: 'AROAX:other',
      Arn: 'arn:aws:sts::123456789012:assumed-role/other/other',
    },
  };
}

function element(value: unknown): string {
  if (Array.isArray(value)) return value.map((one) => `<member>${element(one)}</member>`).join('');
  if (typeof value === 'object' && value !== null)
    return Object.entries(value)
      .map(([name, inner]) => `<${name}>${element(inner)}</${name}>`)
      .join('');
  return escapeXml(String(value));
}
