// Runs the program for WebAssembly: `node run.mjs FILE`. Its lines go to the
// standard output; the exit status is 0 if all went well.
import { readFile } from "node:fs/promises";

const decoder = new TextDecoder();
let text = "";
const host = {
  print(at, length) {
    const bytes = new Uint8Array(instance.exports.memory.buffer, at, length);
    text += decoder.decode(bytes);
  },
};
const program = await readFile(process.argv[2]);
const { instance } = await WebAssembly.instantiate(program, { host });
try {
  process.exitCode = instance.exports.run() === 1 ? 0 : 1;
} catch (trap) {
  text += `${trap}\n`;
  process.exitCode = 1;
}
process.stdout.write(text);
