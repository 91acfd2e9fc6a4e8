import { arnOf, authorize } from './authorize.ts';
import { AwsError } from './errors.ts';
import { type JsonCall, type JsonService, optionalText, stated, text } from './json-service.ts';
import type { Item, StoredTable } from './state.ts';

/** Items by partition key (and sort key), with the condition keys that narrow by them. */
export const dynamodb: JsonService = {
  service: 'dynamodb',
  operations: {
    GetItem: (call) => {
      const key = record(call, 'Key');
      const table = tableFor(call, 'GetItem', [key]);
      const item = table.items.get(idOf(table, key));
      return item === undefined ? {} : { Item: item };
    },
    BatchGetItem: (call) => {
      const [[name, { Keys }] = ['', { Keys: [] }]] = Object.entries(
        record(call, 'RequestItems'),
      ) as unknown as [string, { Keys: Item[] }][]; // One table of the request's own form.
      const table = tableFor({ ...call, input: { TableName: name } }, 'BatchGetItem', Keys);
      const items = Keys.flatMap((key) => table.items.get(idOf(table, key)) ?? []);
      return { Responses: { [name]: items }, UnprocessedKeys: {} };
    },
    PutItem: (call) => {
      const item = record(call, 'Item');
      const table = tableFor(call, 'PutItem', [item]);
      const before = table.items.get(idOf(table, item));
      table.items.set(idOf(table, item), item);
      return returned(call, before);
    },
    UpdateItem: (call) => {
      const key = record(call, 'Key');
      const table = tableFor(call, 'UpdateItem', [key]);
      const before = table.items.get(idOf(table, key));
      const after = { ...(before ?? key), ...assignments(call) };
      table.items.set(idOf(table, key), after);
      return returned(call, before, after);
    },
    DeleteItem: (call) => {
      const key = record(call, 'Key');
      const table = tableFor(call, 'DeleteItem', [key]);
      const before = table.items.get(idOf(table, key));
      table.items.delete(idOf(table, key));
      return returned(call, before);
    },
    Query: (call) => {
      const { partition, value } = equality(call);
      const table = tableFor(call, 'Query', [{ [partition]: value }]);
      const items = [...table.items.values()].filter((item) => same(item[partition], value));
      return { Items: items, Count: items.length, ScannedCount: items.length };
    },
    Scan: (call) => {
      const items = [...tableFor(call, 'Scan', []).items.values()];
      return { Items: items, Count: items.length, ScannedCount: items.length };
    },
    // PartiQL has permissions of its own; only the decision is played here.
    ExecuteStatement: (call) => {
      const name = /from\s+"?([\w.-]+)"?/i.exec(text(call, 'Statement'))?.[1] ?? '';
      tableFor({ ...call, input: { TableName: name } }, 'PartiQLSelect', []);
      throw new AwsError('ValidationException', 400, 'PartiQL is not played');
    },
  },
};

/** The table, once the caller may do this to these leading keys: absent, as AWS has it, where there is none. */
function tableFor(call: JsonCall, operation: string, keyed: readonly Item[]): StoredTable {
  const name = text(call, 'TableName').replace(/^.*:table\//, '');
  const index = optionalText(call, 'IndexName');
  const table = call.state.tables.get(name);
  const partition = table?.partition ?? 'id';
  const leading = keyed.map((item) => Object.values(item[partition] ?? {}).join());
  authorize(call, {
    action: `dynamodb:${operation}`,
    resource: arnOf(call.state, 'dynamodb', `table/${name}${index === undefined ? '' : `/index/${index}`}`),
    context: {
      ...(leading.length === 0 ? {} : { 'dynamodb:LeadingKeys': leading }),
      ...stated({ 'dynamodb:ReturnValues': optionalText(call, 'ReturnValues') }),
    },
  });
  if (table === undefined)
    throw new AwsError('ResourceNotFoundException', 400, 'Requested resource not found');
  return table;
}

function returned(call: JsonCall, before: Item | undefined, after?: Item): Record<string, unknown> {
  switch (optionalText(call, 'ReturnValues') ?? 'NONE') {
    case 'ALL_OLD':
    case 'UPDATED_OLD':
      return before === undefined ? {} : { Attributes: before };
    case 'ALL_NEW':
    case 'UPDATED_NEW':
      return { Attributes: after };
    default:
      return {};
  }
}

/** `pk = :v`, with or without a name in place of the attribute. */
function equality(call: JsonCall): { partition: string; value: Item[string] } {
  const [, attribute = '', placeholder = ''] =
    /^\s*(#?\w+)\s*=\s*(:\w+)\s*$/.exec(text(call, 'KeyConditionExpression')) ?? [];
  const value = record(call, 'ExpressionAttributeValues')[placeholder];
  if (value === undefined) throw new AwsError('ValidationException', 400, 'KeyConditionExpression');
  return { partition: attributeOf(call, attribute), value };
}

/** `SET a = :b, #c = :d` and nothing more. */
function assignments(call: JsonCall): Item {
  const [, list] = /^\s*SET\s+(.+)$/i.exec(text(call, 'UpdateExpression')) ?? [];
  if (list === undefined) throw new AwsError('ValidationException', 400, 'UpdateExpression');
  const values = record(call, 'ExpressionAttributeValues');
  return Object.fromEntries(
    list.split(',').map((one) => {
      const [attribute = '', placeholder = ''] = one.split('=').map((part) => part.trim());
      const value = values[placeholder];
      if (value === undefined) throw new AwsError('ValidationException', 400, 'UpdateExpression');
      return [attributeOf(call, attribute), value];
    }),
  );
}

function attributeOf(call: JsonCall, name: string): string {
  if (!name.startsWith('#')) return name;
  return String(Reflect.get(Object(call.input['ExpressionAttributeNames']), name));
}

function record(call: JsonCall, name: string): Item {
  const value = call.input[name];
  if (typeof value !== 'object' || value === null)
    throw new AwsError('ValidationException', 400, `${name} is required`);
  return value as Item; // The wire form of DynamoDB: attributes by name.
}

function idOf({ partition, sort }: StoredTable, item: Item): string {
  return JSON.stringify([item[partition], sort === undefined ? null : item[sort]]);
}

function same(left: Item[string] | undefined, right: Item[string]): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}
