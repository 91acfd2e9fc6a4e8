/**
 * Whether an identifier is of the one form that its access opens: cut at its colons and slashes, which the compiler
 * reads with patterns. Returns what is wrong, or null.
 */
export function checkSize(access: string, identifier: string): string | null {
  const [arn, partition = '', service, region = '', account = '', ...rest] = identifier.split(':');
  const last = rest.join(':');
  if (arn !== 'arn' || !/^aws[a-z-]*$/.test(partition)) return 'the identifier is no ARN';
  if (service !== access.slice(0, access.indexOf('.'))) return 'the identifier is of another service';
  if (service !== 's3' && (region === '' || !/^[0-9]{12}$/.test(account)))
    return 'the identifier names no region or no account';
  switch (access) {
    case 's3.object':
    case 's3.prefix':
      return checkS3(access, `${region}${account}`, last);
    case 'secretsmanager.secret':
      return last.startsWith('secret:') && /^-[A-Za-z0-9]{6}$/.test(last.slice(-7)) && rest.length === 2
        ? null
        : 'the identifier is no full ARN of a secret';
    case 'dynamodb.items': {
      const [kind, table = '', items, ...key] = last.split('/');
      const whole = kind === 'table' && items === 'items' && /^[\w.-]{3,255}$/.test(table);
      return whole && key.join('/') !== '' && !last.endsWith('/')
        ? null
        : 'the identifier names no partition key';
    }
    case 'sqs.queue':
      return /^[\w-]+(\.fifo)?$/.test(last) ? null : 'the identifier is no queue';
    case 'lambda.function':
      return rest.length === 3 && rest[0] === 'function' && /^[\w-]+$/.test(rest[2] ?? '')
        ? null
        : 'the identifier is no alias or version of a function';
    default:
      return 'access is not known';
  }
}

function checkS3(access: string, between: string, last: string): string | null {
  const slash = last.indexOf('/');
  if (between !== '' || slash < 1 || slash === last.length - 1)
    return 'the identifier is no S3 ARN with a key';
  if (last.slice(0, slash).includes(':')) return 'the identifier is no S3 ARN with a key';
  return (access === 's3.prefix') === last.endsWith('/') ? null : 'the identifier has another size';
}
