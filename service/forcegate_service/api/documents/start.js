// Shows the document of this server; everything is loaded from it.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#interface",
  deepLinking: true,
  tryItOutEnabled: true,
  // It would ask a server elsewhere whether the document is valid.
  validatorUrl: null,
});
