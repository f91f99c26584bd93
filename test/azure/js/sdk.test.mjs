// A program as users of the Azure SDK for JavaScript write them. It knows
// nothing of Gatehouse, and finds it by its environment alone.
import assert from "node:assert/strict";
import { test } from "node:test";

import { AuthorizationManagementClient } from "@azure/arm-authorization";
import { ContainerServiceClient } from "@azure/arm-containerservice";
import { ManagedServiceIdentityClient } from "@azure/arm-msi";
import { ClientSecretCredential, DefaultAzureCredential } from "@azure/identity";

const { AZURE_TENANT_ID: tenant, AZURE_CLIENT_ID: client, SDK_SUBSCRIPTION: subscription, SDK_SCOPE: scope, SDK_GROUP: group, SDK_PRINCIPAL: principal } = process.env;
const credential = new DefaultAzureCredential();
const management = "https://management.azure.com/.default";

const all = async (pages) => {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
};

// refusal is what a call is refused with.
const refusal = async (call) => {
  try {
    await call;
  } catch (e) {
    return `${e.statusCode} ${e.code ?? e.details?.error?.code}`;
  }
  return "no error";
};

test("a token is issued", async () => {
  const { token, expiresOnTimestamp } = await credential.getToken(management);
  assert.equal(token.split(".").length, 3);
  assert.ok(expiresOnTimestamp > Date.now());
});

test("a wrong secret gets none", async () => {
  const wrong = new ClientSecretCredential(tenant, client, "wrong");
  await assert.rejects(wrong.getToken(management), /AADSTS7000215/);
});

test("a role is assigned, found, refused twice, and taken away", async () => {
  const api = new AuthorizationManagementClient(credential, subscription);
  const [role, ...others] = await all(api.roleDefinitions.list(scope, { filter: "roleName eq 'Azure Kubernetes Service RBAC Writer'" }));
  assert.equal(others.length, 0);
  assert.equal(role.roleName, "Azure Kubernetes Service RBAC Writer");
  const name = "22220000-0000-4000-8000-000000000001";
  const wanted = { principalId: principal, principalType: "User", roleDefinitionId: role.id };
  const made = await api.roleAssignments.create(scope, name, wanted);
  assert.equal(made.principalId, principal);
  assert.equal(made.roleDefinitionId, role.id);
  assert.equal(await refusal(api.roleAssignments.create(scope, "22220000-0000-4000-8000-000000000002", wanted)), "409 RoleAssignmentExists");
  const found = await all(api.roleAssignments.listForScope(scope, { filter: "atScope()" }));
  assert.equal(found.filter((a) => a.name === name).length, 1);
  await api.roleAssignments.delete(scope, name);
  assert.equal(await refusal(api.roleAssignments.get(scope, name)), "404 RoleAssignmentNotFound");
});

test("a role name as the documents misspell it is not found", async () => {
  const api = new AuthorizationManagementClient(credential, subscription);
  assert.deepEqual(await all(api.roleDefinitions.list(scope, { filter: "roleName eq 'Azure Kubernetes Service Cluster User'" })), []);
});

test("an identity and its federated credential come and go", async () => {
  const api = new ManagedServiceIdentityClient(credential, subscription);
  const name = "sdk-js";
  const made = await api.userAssignedIdentities.createOrUpdate(group, name, { location: "westeurope", tags: { by: "js" } });
  assert.equal(made.tags.by, "js");
  assert.equal(made.tenantId, tenant);
  const federated = { issuer: "https://oidc.example/js", subject: "system:serviceaccount:default:js", audiences: ["api://AzureADTokenExchange"] };
  const fed = await api.federatedIdentityCredentials.createOrUpdate(group, name, "js-app", federated);
  assert.equal(fed.subject, federated.subject);
  assert.equal((await all(api.federatedIdentityCredentials.list(group, name))).length, 1);
  await api.federatedIdentityCredentials.delete(group, name, "js-app");
  await api.userAssignedIdentities.delete(group, name);
  assert.equal(await refusal(api.userAssignedIdentities.get(group, name)), "404 ResourceNotFound");
});

test("the clusters are listed, and give their credentials", { skip: process.env.SDK_CLUSTERS ? false : "no clusters here" }, async () => {
  const api = new ContainerServiceClient(credential, subscription);
  const clusters = (await all(api.managedClusters.list())).filter((c) => c.id.includes("/resourceGroups/rsg-aksIdentityState"));
  assert.deepEqual(clusters.map((c) => c.name).sort(), ["aks-1", "aks-2", "aks-3"]);
  assert.equal(clusters.find((c) => c.name === "aks-1").aadProfile.enableAzureRbac, true);
  const { kubeconfigs } = await api.managedClusters.listClusterUserCredentials("rsg-aksIdentityState1", "aks-1");
  assert.match(Buffer.from(kubeconfigs[0].value).toString(), /kubelogin/);
  assert.equal(await refusal(api.managedClusters.listClusterAdminCredentials("rsg-aksIdentityState3", "aks-3")), "400 BadRequest");
});
