// Asks Perfetto's own trace processor, in the WebAssembly of its page: node perfetto.js PAGE_FOLDER TRACE SQL...
// Prints, for every SQL, its rows as a line of JSON.
"use strict";
const fs = require("fs");
const path = require("path");

const [folder, trace, ...queries] = process.argv.slice(2);

// What the page's worker finds around it. It must not find that it runs in Node.
class XMLHttpRequest {
  open(_, name) {
    this.response = fs.readFileSync(path.join(folder, name));
  }
  send() {}
}
const self = { location: { href: "" } };
const around = { self, XMLHttpRequest, WorkerGlobalScope: Object, process: undefined };
new Function(...Object.keys(around), fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf8"))(
  ...Object.values(around),
);
let replies = Buffer.alloc(0);
const port = { postMessage: (data) => (replies = Buffer.concat([replies, data])) };
self.onmessage({ data: port });

// Protocol buffers (protobuf.dev/programming-guides/encoding), as far as TraceProcessorRpcStream needs them.
const varint = (n) => (n < 128 ? [n] : [(n % 128) | 128, ...varint(Math.floor(n / 128))]);
const integer = (field, n) => Buffer.from([...varint(field * 8), ...varint(n)]);
const bytes = (field, data) => Buffer.concat([Buffer.from([...varint(field * 8 + 2), ...varint(data.length)]), data]);

function* varints(data) {
  for (let value = 0n, shift = 0n, at = 0; at < data.length; at++) {
    value |= BigInt(data[at] & 127) << shift;
    shift += 7n;
    if (data[at] < 128) {
      yield [Number(BigInt.asIntN(64, value)), at + 1];
      value = shift = 0n;
    }
  }
}

function* fields(data) {
  while (data.length) {
    const [tag, width] = varints(data).next().value;
    data = data.subarray(width);
    const [value, after] = tag % 8 === 1 ? [8, 0] : varints(data).next().value;
    const end = tag % 8 === 0 ? after : after + value;
    yield [tag >> 3, tag % 8 === 0 ? value : data.subarray(after, end)];
    data = data.subarray(end);
  }
}

// Numbers of perfetto/trace_processor/trace_processor.proto.
const [APPEND, FINALIZE, QUERY] = [1, 2, 3];
const [APPENDED, QUERIED, FATAL] = [201, 203, 5];

function* ask(method, ...parts) {
  replies = Buffer.alloc(0);
  port.onmessage({ data: new Uint8Array(bytes(1, Buffer.concat([integer(2, method), ...parts]))) });
  for (const [, reply] of fields(replies)) {
    for (const [field, value] of fields(reply)) {
      if (field === FATAL) throw new Error(value.toString());
      if (field === APPENDED || field === QUERIED) yield* fields(value);
    }
  }
}

function must(answer) {
  const fields = [...answer];
  for (const [field, value] of fields) if (field === 2) throw new Error(value.toString());
  return fields;
}

function rows(sql) {
  const names = [];
  const values = [];
  for (const [field, value] of must(ask(QUERY, bytes(103, bytes(1, Buffer.from(sql)))))) {
    if (field === 1) names.push(value.toString());
    if (field === 3) values.push(...cells(new Map(fields(value))));
  }
  return Array.from({ length: values.length / names.length }, (_, row) =>
    Object.fromEntries(names.map((name, column) => [name, values[row * names.length + column]])),
  );
}

function cells(batch) {
  const part = (field) => batch.get(field) ?? Buffer.alloc(0);
  const numbers = [...varints(part(2))].map(([value]) => value);
  const reals = Array.from({ length: part(3).length / 8 }, (_, n) => part(3).readDoubleLE(8 * n));
  const texts = part(5).toString().split("\0");
  const next = { 1: () => null, 2: () => numbers.shift(), 3: () => reals.shift(), 4: () => texts.shift() };
  return [...part(1)].map((type) => next[type]());
}

// The module is there once its promises have been kept.
setTimeout(() => {
  must(ask(APPEND, bytes(101, fs.readFileSync(trace))));
  must(ask(FINALIZE));
  for (const sql of queries) console.log(JSON.stringify(rows(sql)));
}, 0);
