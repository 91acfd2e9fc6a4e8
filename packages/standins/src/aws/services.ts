import { dynamodb } from './dynamodb.ts';
import type { JsonService } from './json-service.ts';
import { kms } from './kms.ts';
import { secretsManager } from './secrets-manager.ts';
import { sqs } from './sqs.ts';

/** Services that name their operation in `X-Amz-Target: PREFIX.OPERATION`, by prefix. */
export const jsonServices: ReadonlyMap<string, JsonService> = new Map([
  ['AmazonSQS', sqs],
  ['DynamoDB_20120810', dynamodb],
  ['secretsmanager', secretsManager],
  ['TrentService', kms],
]);
