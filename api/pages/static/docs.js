// Starts Swagger UI on our own description of the API. It asks no other host, and the address of this page changes nothing.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();
// The page has its one main element already; Swagger UI brings another.
const view = document.getElementById("swagger-ui");
const regroup = () => view.querySelector("main:not([role])")?.setAttribute("role", "group");
new MutationObserver(regroup).observe(view, { childList: true, subtree: true });
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null,
  queryConfigEnabled: false,
  persistAuthorization: false,
  supportedSubmitMethods: ["get"],
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
});
