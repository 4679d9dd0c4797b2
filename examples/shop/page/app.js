// SPDX-License-Identifier: Apache-2.0

// The page's program: calls of the Connect protocol with JSON, by fetch alone.

const service = "/shop.v1.ShopService/";
let token = "";

const headers = (type) => ({ "Content-Type": type, "Connect-Protocol-Version": "1", ...(token && { Authorization: `Bearer ${token}` }) });

// failure makes an exception of an error of the protocol.
function failure({ code, message, details = [] }) {
  const short = details.map((d) => d.debug).filter((d) => d?.productId).map((d) => ` (${d.productId}: ${d.available ?? 0} left)`);
  return new Error(`${code}: ${message ?? ""}${short.join("")}`);
}

// call makes a unary call.
async function call(method, message) {
  const response = await fetch(service + method, { method: "POST", headers: headers("application/json"), body: JSON.stringify(message) });
  const body = await response.json();
  if (!response.ok) throw failure(body);
  return body;
}

// get makes a unary call without side effects.
async function get(method, message) {
  const query = new URLSearchParams({ connect: "v1", encoding: "json", message: JSON.stringify(message) });
  const response = await fetch(`${service}${method}?${query}`);
  const body = await response.json();
  if (!response.ok) throw failure(body);
  return body;
}

// envelope puts a byte of flags and four bytes of length before a message.
function envelope(message) {
  const data = new TextEncoder().encode(JSON.stringify(message));
  const framed = new Uint8Array(5 + data.length);
  new DataView(framed.buffer).setUint32(1, data.length);
  framed.set(data, 5);
  return framed;
}

// stream yields the messages of a server stream. The last envelope has the flag 2 and the
// end of the call.
async function* stream(method, message) {
  const response = await fetch(service + method, { method: "POST", headers: headers("application/connect+json"), body: envelope(message) });
  if (!response.ok) throw new Error(`HTTP status ${response.status}`);
  const reader = response.body.getReader();
  let bytes = new Uint8Array();
  try {
    for (;;) {
      const length = bytes.length < 5 ? Infinity : 5 + new DataView(bytes.buffer).getUint32(1);
      if (bytes.length < length) {
        const { done, value } = await reader.read();
        if (done) throw new Error("unavailable: the connection was lost");
        const joined = new Uint8Array(bytes.length + value.length);
        joined.set(bytes);
        joined.set(value, bytes.length);
        bytes = joined;
        continue;
      }
      const content = JSON.parse(new TextDecoder().decode(bytes.subarray(5, length)));
      const last = bytes[0] & 2;
      bytes = bytes.slice(length);
      if (!last) yield content;
      else if (content.error) throw failure(content.error);
      else return;
    }
  } finally {
    await reader.cancel();
  }
}

const element = (id) => document.getElementById(id);

async function showProducts() {
  const { products = [] } = await get("ListProducts", {});
  element("products").replaceChildren(...products.map((p) => {
    const row = document.createElement("tr");
    for (const text of [p.name, ((p.priceCents ?? 0) / 100).toFixed(2), p.stock ?? 0]) {
      row.insertCell().textContent = text;
    }
    row.insertCell().append(Object.assign(document.createElement("input"), { type: "number", name: p.id, min: 0, max: 100, value: 0 }));
    return row;
  }));
}

async function order(form) {
  element("statuses").replaceChildren();
  const fields = new FormData(form);
  const items = [...document.querySelectorAll("#products input")]
    .map((i) => ({ productId: i.name, quantity: i.valueAsNumber })).filter((i) => i.quantity > 0);
  ({ token } = await call("SignIn", { user: fields.get("user"), password: fields.get("password") }));
  const placed = await call("PlaceOrder", { requestId: crypto.randomUUID(), items });
  element("message").textContent = `Order ${placed.id}: ${((placed.totalCents ?? 0) / 100).toFixed(2)}`;
  await showProducts();
  for await (const { status } of stream("WatchOrder", { orderId: placed.id })) {
    element("statuses").append(Object.assign(document.createElement("li"), { textContent: status.replace("STATUS_", "").toLowerCase() }));
  }
}

const show = (error) => { element("message").textContent = error.message; };
element("order").addEventListener("submit", (event) => {
  event.preventDefault();
  order(event.target).catch(show);
});
showProducts().catch(show);
