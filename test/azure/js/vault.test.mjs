// A program as users of the Azure SDK for JavaScript write them, which keeps its
// secrets in a vault.
import assert from "node:assert/strict";
import { test } from "node:test";

import { DefaultAzureCredential } from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";

const vault = new SecretClient(`https://${process.env.SDK_VAULT}.vault.azure.net`, new DefaultAzureCredential());

// refusal is what a call is refused with.
const refusal = async (call) => {
  try {
    await call;
  } catch (e) {
    return `${e.statusCode} ${e.code}`;
  }
  return "no error";
};

test("a secret is set, read and versioned", async () => {
  const first = await vault.setSecret("db-js", "one", { contentType: "text/plain", tags: { by: "js" }, expiresOn: new Date("2030-01-01T00:00:00Z") });
  assert.equal(first.name, "db-js");
  assert.equal(first.properties.vaultUrl, `https://${process.env.SDK_VAULT}.vault.azure.net`);
  assert.equal(first.properties.expiresOn.toISOString(), "2030-01-01T00:00:00.000Z");
  await vault.setSecret("db-js", "two");
  assert.equal((await vault.getSecret("db-js")).value, "two");
  const old = await vault.getSecret("db-js", { version: first.properties.version });
  assert.equal(old.value, "one");
  assert.deepEqual(old.properties.tags, { by: "js" });
  await vault.updateSecretProperties("db-js", first.properties.version, { enabled: false });
  assert.equal(await refusal(vault.getSecret("db-js", { version: first.properties.version })), "403 Forbidden");
  assert.equal(await refusal(vault.getSecret("nothing")), "404 SecretNotFound");
});

test("secrets are listed page by page", async () => {
  await Promise.all([...Array(12).keys()].map((i) => vault.setSecret(`page-${i}`, "x")));
  let pages = 0;
  const names = new Set();
  for await (const page of vault.listPropertiesOfSecrets().byPage({ maxPageSize: 5 })) {
    pages++;
    for (const p of page) names.add(p.name);
  }
  assert.equal(names.size, 13);
  assert.equal(pages, 3);
  let versions = 0;
  for await (const _ of vault.listPropertiesOfSecretVersions("db-js")) versions++;
  assert.equal(versions, 2);
});

test("a secret is deleted, recovered, backed up, purged and restored", async () => {
  const deleted = await (await vault.beginDeleteSecret("db-js", { intervalInMs: 50 })).pollUntilDone();
  assert.ok(deleted.recoveryId.endsWith("/deletedsecrets/db-js"));
  assert.equal(await refusal(vault.setSecret("db-js", "x")), "409 Conflict");
  await (await vault.beginRecoverDeletedSecret("db-js", { intervalInMs: 50 })).pollUntilDone();
  const backup = await vault.backupSecret("db-js");
  await (await vault.beginDeleteSecret("db-js", { intervalInMs: 50 })).pollUntilDone();
  await vault.purgeDeletedSecret("db-js");
  await vault.restoreSecretBackup(backup);
  assert.equal((await vault.getSecret("db-js")).value, "two");
});
