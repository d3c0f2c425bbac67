/** The reference of the API at /docs: Swagger UI, from a package and not from a CDN. */

/* global SwaggerUIBundle */
SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, tryItOutEnabled: true });
