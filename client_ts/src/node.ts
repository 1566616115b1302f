export { signToken } from "./sign-token.js";
