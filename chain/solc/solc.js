// The compiler as py-solc-x wants to meet it: one executable with --version and --standard-json.
// It is the wasm build of the npm package `solc`, so nothing is downloaded outside the package registry.
"use strict";
const solc = require("solc");
if (process.argv.includes("--version")) {
  console.log("solc, the solidity compiler commandline interface");
  console.log("Version: " + solc.version().replace("Emscripten.clang", "Linux.g++"));
} else if (process.argv.includes("--standard-json")) {
  process.stdout.write(solc.compile(require("fs").readFileSync(0, "utf8")));
} else {
  console.error("only --version and --standard-json");
  process.exit(2);
}
