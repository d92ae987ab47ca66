// Continues a WAV file by one bar over OSC, knowing of the server only what OSCQuery tells.
//
//   jukebox-bridge serve --oscquery-port 0 --osc-announce
//   npm install -g oscquery osc
//   NODE_PATH="$(npm root -g)" node examples/osc_section.js section.wav [port]
//
// The server is found by zeroconf; of several the one whose OSCQuery has the port, if that is given.
// The file lies in the server's spool, or in a folder of its --allow-path.
const { OSCQAccess, OSCQueryDiscovery } = require("oscquery");
const { UDPPort } = require("osc");

const [path, port] = process.argv.slice(2);

function found() {
  const discovery = new OSCQueryDiscovery();
  return new Promise((resolve, reject) => {
    discovery.on("error", reject);
    discovery.on("up", (service) => {
      if (service.hostInfo.name !== "Jukebox Bridge") return;
      if (port && service.port !== Number(port)) return;
      discovery.stop();
      resolve(service);
    });
    discovery.start();
  });
}

// What OSCQuery tells of an address, if it can be used so and takes arguments of these types.
function described(service, address, access, types) {
  const known = service.flat().find((one) => one.full_path === address);
  if (!known) throw new Error(`there is no ${address}`);
  if (known.access !== access) throw new Error(`${address} has access ${known.access}`);
  const told = known.arguments.map((argument) => argument.type).join("");
  if (told !== types) throw new Error(`${address} takes ${told}, not ${types}`);
  return known;
}

// An int64 comes as two halves.
function plain(value) {
  return value.high === undefined ? value : value.high * 2 ** 32 + (value.low >>> 0);
}

async function main() {
  const service = await found();
  const verb = described(service, "/jukebox/continue", OSCQAccess.WRITEONLY, "ss");
  const bars = described(service, "/jukebox/session/bars", OSCQAccess.READWRITE, "d");
  const tempo = described(service, "/jukebox/session/tempo_bpm", OSCQAccess.READWRITE, "d");
  const { min, max } = bars.arguments[0].range;
  if (min > 1 || max < 1) throw new Error(`bars are ${min} to ${max}`);

  const { oscIp, oscPort } = service.hostInfo;
  const line = new UDPPort({ localPort: 0, remoteAddress: oscIp, remotePort: oscPort });
  line.on("message", ({ address, args: [of, id, ...values] }) => {
    if (address !== "/jukebox/done" && address !== "/jukebox/fail") return;
    const tempo_bpm = tempo.arguments[0].value;
    const told = { address, of, id, values: values.map(plain), tempo_bpm };
    process.stdout.write(`${JSON.stringify(told)}\n`);
    process.exit(address === "/jukebox/done" ? 0 : 1);
  });
  line.on("ready", () => {
    line.send({ address: bars.full_path, args: [{ type: "f", value: 1 }] });
    line.send({ address: verb.full_path, args: [`section-${process.pid}`, path] });
  });
  line.open();
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
