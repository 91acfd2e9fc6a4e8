import { randomUUID } from 'node:crypto';
import { authorize } from './authorize.ts';
import { AwsError } from './errors.ts';
import { type JsonCall, type JsonService, optionalText, stated, text } from './json-service.ts';
import { useKey } from './kms.ts';
import type { StoredSecret } from './state.ts';

export const secretsManager: JsonService = {
  service: 'secretsmanager',
  operations: {
    GetSecretValue: (call) => {
      const secret = find(call, text(call, 'SecretId'));
      return readValue(call, secret);
    },
    // Each secret is decided by its own ARN, the call itself by none: it has no resource.
    BatchGetSecretValue: (call) => {
      authorize(call, { action: 'secretsmanager:BatchGetSecretValue', resource: '*' });
      const ids: unknown = call.input['SecretIdList'];
      const values = (Array.isArray(ids) ? ids : []).map((id) => readValue(call, find(call, String(id))));
      return { SecretValues: values, Errors: [] };
    },
    PutSecretValue: (call) => {
      const secret = find(call, text(call, 'SecretId'));
      authorize(call, { action: 'secretsmanager:PutSecretValue', resource: secret.arn });
      const before = secret.versions.find(({ stage }) => stage === 'AWSCURRENT');
      for (const version of secret.versions) if (version.stage === 'AWSPREVIOUS') version.stage = undefined;
      if (before !== undefined) before.stage = 'AWSPREVIOUS';
      const version = { id: randomUUID(), stage: 'AWSCURRENT', value: text(call, 'SecretString') };
      secret.versions.push(version);
      return { ARN: secret.arn, Name: secret.name, VersionId: version.id, VersionStages: ['AWSCURRENT'] };
    },
    DescribeSecret: (call) => {
      const secret = find(call, text(call, 'SecretId'));
      authorize(call, { action: 'secretsmanager:DescribeSecret', resource: secret.arn });
      return { ARN: secret.arn, Name: secret.name };
    },
    ListSecrets: (call) => {
      authorize(call, { action: 'secretsmanager:ListSecrets', resource: '*' });
      return {
        SecretList: [...call.state.secrets.values()].map(({ arn, name }) => ({ ARN: arn, Name: name })),
      };
    },
  },
};

/** By full ARN, by name, or by the ARN without its six last characters, as the service takes them. */
function find(call: JsonCall, id: string): StoredSecret {
  const all = [...call.state.secrets.values()];
  const found = all.find(({ arn, name }) => arn === id || name === id || arn.slice(0, -7) === id);
  if (found !== undefined) return found;
  authorize(call, { action: 'secretsmanager:GetSecretValue', resource: id });
  throw new AwsError('ResourceNotFoundException', 400, "Secrets Manager can't find the specified secret.");
}

function readValue(call: JsonCall, secret: StoredSecret): Record<string, unknown> {
  const [versionId, stage] = [optionalText(call, 'VersionId'), optionalText(call, 'VersionStage')];
  authorize(call, {
    action: 'secretsmanager:GetSecretValue',
    resource: secret.arn,
    context: stated({
      'secretsmanager:SecretId': secret.arn,
      'secretsmanager:VersionId': versionId,
      'secretsmanager:VersionStage': stage,
    }),
  });
  const version = secret.versions.find((one) =>
    versionId === undefined ? one.stage === (stage ?? 'AWSCURRENT') : one.id === versionId,
  );
  if (version === undefined) throw new AwsError('ResourceNotFoundException', 400, 'no such version');
  if (secret.kmsKey !== undefined)
    useKey(call, {
      key: secret.kmsKey,
      action: 'kms:Decrypt',
      via: 'secretsmanager',
      context: { SecretARN: secret.arn, SecretVersionId: version.id },
    });
  return {
    ARN: secret.arn,
    Name: secret.name,
    SecretString: version.value,
    VersionId: version.id,
    VersionStages: version.stage === undefined ? [] : [version.stage],
  };
}
