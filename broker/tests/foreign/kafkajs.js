// kafkajs, a client written in JavaScript: topics, records with gzip, a group that goes on.
const assert = require('node:assert')
const { CompressionTypes, Kafka, logLevel } = require('kafkajs')

const topic = `kafkajs-${Date.now()}`
const kafka = new Kafka({ brokers: [process.argv[2]], clientId: 'judge', logLevel: logLevel.ERROR })

async function read(groupId, wanted) {
  const consumer = kafka.consumer({ groupId, rebalanceTimeout: 10000 })
  const found = []
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${found.length} of ${wanted}`)), 60000)
    consumer.run({
      eachMessage: async ({ message }) => {
        found.push(message.value.toString())
        if (found.length === wanted) {
          clearTimeout(late)
          // Resolved outside, or the offset of this record is not committed yet.
          setTimeout(resolve, 0)
        }
      },
    })
  })
  await consumer.disconnect()
  return found.sort()
}

async function main() {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true })
  assert((await admin.listTopics()).includes(topic))

  const producer = kafka.producer({ idempotent: true })
  await producer.connect()
  const sent = []
  for (let turn = 0; turn < 20; turn++) {
    const values = Array.from({ length: 1000 }, (_, n) => `value-${turn}-${n}`)
    const messages = values.map((value) => ({ key: value, value, headers: { h: 'v' } }))
    const compression = turn % 2 ? CompressionTypes.GZIP : CompressionTypes.None
    await producer.send({ topic, messages, compression })
    sent.push(...values)
  }
  assert.deepStrictEqual(await read('group', sent.length), sent.sort())

  const more = Array.from({ length: 100 }, (_, n) => `more-${n}`)
  await producer.send({ topic, messages: more.map((value) => ({ value })) })
  assert.deepStrictEqual(await read('group', more.length), more.sort())

  const ends = (await admin.fetchTopicOffsets(topic)).reduce((sum, { high }) => sum + Number(high), 0)
  assert.strictEqual(ends, sent.length + more.length)
  const { groups } = await admin.describeGroups(['group'])
  assert.strictEqual(groups[0].state, 'Empty')
  await admin.deleteGroups(['group'])
  await admin.deleteTopics({ topics: [topic] })
  await producer.disconnect()
  await admin.disconnect()
  console.log(`${ends} records, all there`)
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
