// Wallets: other programs that keep a key, such as browser extensions. Discovery is EIP-6963, requests are EIP-1193.
// A wallet is not trusted with what it answers: each signature is checked against the message and the account.
import { Problem, signing } from "./requests.js";
import { canonicalSignature, checksummed, digest, recover, typedData } from "./typed.js";

const wallets = new Map(); // announced in this page, by the uuid of the announcement
const listeners = [];
const LONGEST = 60; // characters of a name that is shown
const INVISIBLE = /\p{C}/gu; // would turn the text beside a wallet's name around, or hide in it
const ANNOUNCED_WITHIN = 2000; // milliseconds: the wallet that signed in, on a later page
const ANSWERED_WITHIN = 120_000; // milliseconds, in which somebody reads in her wallet what it asks
const NO_NETWORK = 4902,
  CANNOT = [4200, -32601];
const SENTENCES = {
  4001: "You refused in your wallet. Nothing was signed.",
  4100: "Your wallet does not let this page use that account. Connect the account with this page in the wallet, then try again.",
  4200: "Your wallet cannot sign this kind of message. Take another wallet, or a key file.",
  4900: "Your wallet is disconnected. Open it, then try again.",
  4901: "Your wallet is disconnected from the ledger's network. Open it, then try again.",
  "-32002":
    "Your wallet is still waiting for an answer of yours. Open it and answer there, then try again.",
  "-32601": "Your wallet cannot sign this kind of message. Take another wallet, or a key file.",
};

addEventListener("eip6963:announceProvider", ({ detail }) => {
  const { info, provider } = detail ?? {};
  const named = ["uuid", "name", "rdns"].every(
    (field) => typeof info?.[field] === "string" && info[field],
  );
  if (!named || typeof provider?.request !== "function" || wallets.has(info.uuid)) return;
  // The icon is not shown: it is a picture that any program may choose.
  const name = info.name.replace(INVISIBLE, "").trim().slice(0, LONGEST);
  if (!name) return;
  const wallet = { uuid: info.uuid, name, rdns: info.rdns.slice(0, LONGEST), provider };
  wallets.set(wallet.uuid, wallet);
  listeners.forEach((listen) => listen(wallet));
});
dispatchEvent(new Event("eip6963:requestProvider"));

/** Call `listen` with each wallet, those that are announced later too. */
export function eachWallet(listen) {
  listeners.push(listen);
  wallets.forEach(listen);
}

/** The account that the person connects with this page: its checksummed address. */
export async function connect(uuid) {
  const wallet = wallets.get(uuid);
  const accounts = await request(wallet, "eth_requestAccounts");
  return {
    rdns: wallet.rdns,
    address: addressOf(Array.isArray(accounts) ? accounts[0] : accounts),
  };
}

/** r ‖ s ‖ v as hex, of this account over this message. Throws Problem. */
export async function signInWallet({ rdns, address }, name, message) {
  const wallet = await announced(rdns);
  const accounts = await request(wallet, "eth_accounts");
  if (!Array.isArray(accounts) || !accounts.length)
    throw new Problem("Your wallet is no longer connected with this page. Sign in with it again.");
  if (!accounts.map(addressOf).includes(address)) {
    throw new Problem(
      `Your wallet now uses another account. Choose ${address} there, or sign out and sign in again.`,
    );
  }
  const { chain, [name]: kind } = await signing();
  await goTo(wallet, chain);
  const text = JSON.stringify(typedData(kind, message));
  const signature = canonicalSignature(
    await request(wallet, "eth_signTypedData_v4", [address, text]),
  );
  if (signature === null || recover(digest(kind, message), signature) !== address) {
    throw new Problem(
      "What your wallet gave is not this account's signature over this message. Nothing was sent.",
    );
  }
  return signature;
}

/** The wallet that signed in on an earlier page. */
function announced(rdns) {
  return new Promise((resolve, reject) => {
    eachWallet((wallet) => wallet.rdns === rdns && resolve(wallet));
    setTimeout(
      () => reject(new Problem("Your wallet is not in this browser any more. Sign in again.")),
      ANNOUNCED_WITHIN,
    );
  });
}

/** Have the wallet use the ledger's network: wallets refuse to sign for another one than they are on. */
async function goTo(wallet, { id, node }) {
  const chainId = `0x${id.toString(16)}`;
  const chainName = `volens ledger ${id}`;
  const current = async () => Number(await request(wallet, "eth_chainId"));
  if ((await current()) === id) return;
  /** The code of the wallet's error, 0 without one, of those that are no reason to stop. */
  const tried = async (method, params, codes) => {
    try {
      await answered(wallet.provider.request({ method, params: [params] }));
      return 0;
    } catch (error) {
      if (!codes.includes(codeOf(error))) throw problemOf(error);
      return codeOf(error);
    }
  };
  const change = () => tried("wallet_switchEthereumChain", { chainId }, [NO_NETWORK, ...CANNOT]);
  let code = await change();
  if (code === NO_NETWORK && node) {
    const network = {
      chainId,
      chainName,
      rpcUrls: [node],
      nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    };
    if (!(await tried("wallet_addEthereumChain", network, [NO_NETWORK, ...CANNOT]))) {
      code = (await current()) === id ? 0 : await change();
    }
  }
  if (code === NO_NETWORK) {
    const url = node || "the address of a node that this service's operator names";
    throw new Problem(
      "Your wallet does not know the ledger's network. Add it in the wallet's settings: " +
        `name ${chainName}, chain id ${id}, RPC URL ${url}, currency ETH. Then try again.`,
    );
  }
  if ((await current()) !== id) {
    throw new Problem(
      `Your wallet is on another network than the ledger. Choose ${chainName} (chain id ${id}) there.`,
    );
  }
}

async function request({ provider }, method, params = []) {
  try {
    return await answered(provider.request({ method, params }));
  } catch (error) {
    throw problemOf(error);
  }
}

/** What a wallet answers, or a Problem once it has not for long. What it answers later is not used. */
function answered(answer) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new Problem(
            "Your wallet has not answered for two minutes, and nothing was sent. Open it, refuse there what still waits, " +
              "then try again. If it shows nothing, load this page anew.",
          ),
        ),
      ANSWERED_WITHIN,
    );
  });
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

function problemOf(error) {
  if (error instanceof Problem) return error;
  const code = codeOf(error);
  return new Problem(
    SENTENCES[code] ??
      `Your wallet could not do it${code ? ` (error ${code})` : ""}. Nothing was signed.`,
  );
}

/** The number of a wallet's error; some wrap another program's error in their own. */
function codeOf(error) {
  const code = Number(error?.data?.originalError?.code ?? error?.code);
  return Number.isSafeInteger(code) ? code : 0;
}

function addressOf(account) {
  if (!/^0x[0-9a-fA-F]{40}$/.test(account))
    throw new Problem("Your wallet names no account. Nothing was signed.");
  return checksummed(account.slice(2).toLowerCase());
}
