"use strict";

// The document says where the API is as this server knows it. Here it is always beside the document itself, whatever
// path a proxy has put before it.
async function show() {
  const root = document.getElementById("swagger-ui");
  const address = new URL(root.dataset.document, document.baseURI);
  try {
    const answer = await fetch(address);
    if (!answer.ok) {
      throw new Error(`${address.pathname} was answered with ${answer.status}`);
    }
    const spec = await answer.json();
    document.title = spec.info.title;
    spec.servers = [{ url: new URL(".", address).href.replace(/\/$/, "") }];
    window.ui = SwaggerUIBundle({
      spec,
      domNode: root,
      deepLinking: true,
      docExpansion: "list",
      defaultModelsExpandDepth: 0,
      displayRequestDuration: true,
      persistAuthorization: false,
      tryItOutEnabled: false,
      validatorUrl: null,
    });
  } catch (error) {
    root.textContent = `The API cannot be shown: ${error.message}`;
  }
}

show();
