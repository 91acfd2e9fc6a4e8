import { createHash, randomUUID } from 'node:crypto';
import { arnOf, authorize } from './authorize.ts';
import { AwsError } from './errors.ts';
import { type JsonCall, type JsonService, text } from './json-service.ts';
import type { Message } from './state.ts';

/** How long a received message is hidden. */
const visibilityMs = 30_000;
const messagesMax = 10;

export const sqs: JsonService = {
  service: 'sqs',
  operations: {
    SendMessage: (call) => {
      const queue = queueOf(call, 'SendMessage');
      const body = text(call, 'MessageBody');
      const message = { id: randomUUID(), body, receipt: undefined, visibleAt: 0 };
      queue.push(message);
      return { MessageId: message.id, MD5OfMessageBody: md5(body) };
    },
    ReceiveMessage: (call) => {
      const queue = queueOf(call, 'ReceiveMessage');
      const wanted = Number(call.input['MaxNumberOfMessages'] ?? 1);
      const visible = queue.filter(({ visibleAt }) => visibleAt <= call.now.getTime());
      const taken = visible.slice(0, Math.min(wanted, messagesMax));
      for (const message of taken) {
        message.receipt = randomUUID();
        message.visibleAt = call.now.getTime() + visibilityMs;
      }
      const Messages = taken.map(({ id, body, receipt }) => ({
        MessageId: id,
        ReceiptHandle: receipt,
        Body: body,
        MD5OfBody: md5(body),
      }));
      return Messages.length === 0 ? {} : { Messages };
    },
    DeleteMessage: (call) => {
      const queue = queueOf(call, 'DeleteMessage');
      const at = queue.findIndex(({ receipt }) => receipt === text(call, 'ReceiptHandle'));
      if (at < 0) throw new AwsError('ReceiptHandleIsInvalid', 400);
      queue.splice(at, 1);
      return {};
    },
    PurgeQueue: (call) => {
      queueOf(call, 'PurgeQueue').length = 0;
      return {};
    },
    GetQueueUrl: (call) => {
      const name = text(call, 'QueueName');
      authorize(call, { action: 'sqs:GetQueueUrl', resource: arnOf(call.state, 'sqs', name) });
      if (!call.state.queues.has(name)) throw absent();
      return { QueueUrl: `https://sqs.${call.state.region}.amazonaws.com/${call.state.account}/${name}` };
    },
    ListQueues: (call) => {
      authorize(call, { action: 'sqs:ListQueues', resource: '*' });
      return { QueueUrls: [...call.state.queues.keys()] };
    },
  },
};

/** The queue that a URL names by its last segment; who may not is told nothing of whether it exists. */
function queueOf(call: JsonCall, operation: string): Message[] {
  const name = text(call, 'QueueUrl').replace(/^.*\//, '');
  authorize(call, { action: `sqs:${operation}`, resource: arnOf(call.state, 'sqs', name) });
  const queue = call.state.queues.get(name);
  if (queue === undefined) throw absent();
  return queue;
}

const absent = () => new AwsError('QueueDoesNotExist', 400, 'The specified queue does not exist.');

function md5(body: string): string {
  return createHash('md5').update(body).digest('hex');
}
