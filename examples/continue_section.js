// Continues noise for one bar from JavaScript, straight from the .proto: nothing is generated.
//
//   npm install -g @grpc/grpc-js @grpc/proto-loader
//   NODE_PATH="$(npm root -g)" node examples/continue_section.js 127.0.0.1:7171 protos/bridge.proto
//
// JUKEBOX_TOKEN and JUKEBOX_CA are used if they are set: a token, and the PEM file of the authority
// that signed the server's certificate.
const crypto = require("crypto");
const fs = require("fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, proto] = process.argv.slice(2);
const token = process.env.JUKEBOX_TOKEN;
const authority = process.env.JUKEBOX_CA;

const RATE = 44100;
const PRIME_SAMPLES = 20000;

const definition = loader.loadSync(proto, { longs: Number, keepCase: true });
const { Bridge } = grpc.loadPackageDefinition(definition).jukebox.bridge.v1;
const credentials = authority
  ? grpc.credentials.createSsl(fs.readFileSync(authority))
  : grpc.credentials.createInsecure();
const metadata = new grpc.Metadata();
if (token) metadata.set("authorization", `Bearer ${token}`);

const prime = new Float32Array(PRIME_SAMPLES).map(() => 0.1 * (2 * Math.random() - 1));
const call = new Bridge(address, credentials).Continue(metadata);
const told = { bytes: 0, next_sample: PRIME_SAMPLES };
const sha256 = crypto.createHash("sha256");

call.on("data", (event) => {
  if (event.accepted) told.accepted = event.accepted;
  if (event.done) told.done = event.done;
  if (event.audio) {
    const first = Number(event.audio.start_sample);
    if (first !== told.next_sample) throw new Error(`due was ${told.next_sample}, not ${first}`);
    told.next_sample += event.audio.samples.length / 4;
    told.bytes += event.audio.samples.length;
    sha256.update(event.audio.samples);
  }
});
call.on("error", (error) => {
  process.stderr.write(`${error.code}: ${error.details}\n`);
  process.exit(1);
});
call.on("end", () => {
  const { take_id, num_samples, sha256: promised } = told.done;
  if (sha256.digest("hex") !== promised) throw new Error(`${promised} was promised`);
  const { seed } = told.accepted;
  process.stdout.write(`${JSON.stringify({ take_id, num_samples, seed, bytes: told.bytes })}\n`);
  process.exit(0);
});

call.write({
  header: {
    format: { sample_rate: RATE, num_channels: 1 },
    prime_samples: PRIME_SAMPLES,
    target: { bars: 1, tempo_map: [{ sample: 0, tempo_bpm: 120 }] },
    plan: { seed: 7 },
  },
});
call.write({ audio: { role: "ROLE_PRIME", samples: Buffer.from(prime.buffer) } });
call.end();
