/** Lets vitest run the packages through Vite like sources, instead of leaving them to Node. */
export default { test: { server: { deps: { inline: [/@holdfast/] } } } }
