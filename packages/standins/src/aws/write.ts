import type { ServerResponse } from 'node:http';
import { type AwsError, escapeXml } from './errors.ts';
import type { FaultPlan } from './faults.ts';
import type { LambdaAnswer } from './lambda.ts';
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
  | { readonly kind: 'json'; readonly result: Readonly<Record<string, unknown>> }
  | { readonly kind: 'lambda'; readonly answer: LambdaAnswer }
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
  if (outcome.kind === 'json') {
    writeJson(response, { status: 200, requestId }, outcome.result);
    return;
  }
  if (outcome.kind === 'lambda') {
    const { payload, version } = outcome.answer;
    response
      .writeHead(200, { 'x-amz-executed-version': version, 'x-amzn-requestid': requestId })
      .end(payload);
    return;
  }
  if (outcome.kind === 'error' && (call.service === 'lambda' || call.json !== undefined)) {
    writeJsonError(response, outcome.error, { call, requestId });
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

function writeJson(
  response: ServerResponse,
  {
    status,
    requestId,
    headers = {},
  }: { status: number; requestId: string; headers?: Record<string, string> },
  body: unknown,
): void {
  response
    .writeHead(status, {
      'content-type': 'application/x-amz-json-1.0',
      'x-amzn-requestid': requestId,
      ...headers,
    })
    .end(JSON.stringify(body));
}

/** What the query protocols call otherwise. */
const jsonCodes: Readonly<Record<string, string>> = {
  AccessDenied: 'AccessDeniedException',
  ExpiredToken: 'ExpiredTokenException',
  InvalidAccessKeyId: 'UnrecognizedClientException',
  InvalidToken: 'UnrecognizedClientException',
  SignatureDoesNotMatch: 'InvalidSignatureException',
};

// SQS and Lambda say 403 to what is denied, the others 400.
function writeJsonError(
  response: ServerResponse,
  { code, status, message }: AwsError,
  { call: { service }, requestId }: { call: CallInfo; requestId: string },
): void {
  const told = jsonCodes[code] ?? code;
  const forbids = service === 'sqs' || service === 'lambda';
  const shown = status >= 500 || status === 404 || (status === 403 && forbids) ? status : 400;
  const headers = { 'x-amzn-errortype': told };
  writeJson(response, { status: shown, requestId, headers }, { __type: told, message, Message: message });
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
