import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist", "src/gen", "tests/gen", "**/*.js", "**/*.mjs"] },
  tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { project: "./tests/tsconfig.json", tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Listeners and the like return nothing of interest.
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      // An empty function is the honest "do nothing".
      "@typescript-eslint/no-empty-function": "off",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/consistent-type-imports": "error",
      // It does not see what a closure does to a variable, and an async function need not wait to promise.
      "@typescript-eslint/no-unnecessary-condition": "off",
      "@typescript-eslint/require-await": "off",
      // What a caller aborts with, or a callback throws, is passed on as it is.
      "@typescript-eslint/only-throw-error": "off",
      "@typescript-eslint/prefer-promise-reject-errors": "off",
    },
  },
);
