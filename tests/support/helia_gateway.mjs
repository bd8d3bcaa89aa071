// A gateway of raw blocks by Helia: the files named as arguments are added, and their CIDs printed as one line of JSON
// with the port. `v0:PATH` adds with the settings of version 0, `v1:PATH` with those of version 1.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { unixfs } from '@helia/unixfs'
import { createVerifiedFetch } from '@helia/verified-fetch'
import { MemoryBlockstore } from 'blockstore-core'
import { createHeliaLight } from 'helia'

const helia = await createHeliaLight({ blockstore: new MemoryBlockstore() })
const fs = unixfs(helia)
const cids = []
for (const argument of process.argv.slice(2)) {
  const [version, path] = [Number(argument[1]), argument.slice(3)]
  const cid = await fs.addBytes(await readFile(path), { cidVersion: version, rawLeaves: version === 1 })
  cids.push(cid.toString())
}
const fetch = await createVerifiedFetch(helia)
const server = createServer(async (request, response) => {
  const path = new URL(request.url, 'http://localhost').pathname
  try {
    const answer = await fetch(`ipfs:/${path}`.replace('ipfs://ipfs/', 'ipfs://'), {
      headers: { accept: request.headers.accept }, session: false, signal: AbortSignal.timeout(5000)
    })
    response.writeHead(answer.status, Object.fromEntries(answer.headers))
    response.end(Buffer.from(await answer.arrayBuffer()))
  } catch (error) {
    response.writeHead(504)
    response.end(String(error))
  }
})
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port, cids })))
process.stdin.on('end', () => process.exit(0)).resume()
