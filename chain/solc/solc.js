// The compiler as py-solc-x wants to meet it: one executable with --version and --standard-json.
// It is the wasm build of the npm package `solc`, so nothing is downloaded outside the package registry.
"use strict";
const solc = require("solc");
if (process.argv.includes("--version")) {
  console.log("solc, the solidity compiler commandline interface");
  console.log("Version: " + solc.version().replace("Emscripten.clang", "Linux.g++"));
} else if (process.argv.includes("--standard-json")) {
  process.stdout.write(solc.compile(require("fs").readFileSync(0, "utf8")));
} else if (process.argv.includes("--each-line")) {
  // Many requests to one process, an answer a line: loading the compiler takes half as long as compiling one contract.
  const lines = require("readline").createInterface({ input: process.stdin });
  lines.on("line", (request) => process.stdout.write(solc.compile(request) + "\n"));
} else {
  console.error("only --version, --standard-json and --each-line");
  process.exit(2);
}
