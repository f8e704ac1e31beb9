// Writes segments.json: texts and what Twilio's own calculator says of them.
// Run in an empty directory: npm install sms-segments-calculator@1.3.0, copy this file there, node make_vectors.mjs > segments.json
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { SegmentedMessage } = require("sms-segments-calculator");
const { version } = require("sms-segments-calculator/package.json");

let state = 20261123; // a fixed seed: the same vectors every time
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const pick = (list) => list[random(list.length)];

const plain = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,!?'\"@$_&%-"];
const gsm = [..."@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ¤ÄÖÑÜ§¿¡äöñüà"];
const extended = [..."\f^{}\\[~]|€"];
const wide = [..."çâêîôûëïüćžş“”‘’–—…`•™×şğı", "Привет", "你好", "안녕", "שלום", "مرحبا", "हिन्दी", "ไทยน้ำ", "a\u0301", "e\u0302\u0323", "\u00a0", "\u200b", "\u200d", "\ufe0f", "\u00ad"];
const clusters = [
  "😀", "🎉", "👍🏽", "👩🏿‍🚀", "👨‍👩‍👧‍👦", "❤️", "☎️", "1️⃣", "#️⃣", "🇺🇸", "🇨🇦", "🇺🇸🇨🇦", "🏳️‍🌈", "👩‍❤️‍💋‍👨", "🏴‍☠️", "🤷🏾‍♀️", "🧑‍🍳", "𝒳", "𐍈", "🂡", "✊🏻", "👋🏼",
];
const breaks = ["\r\n", "\n", "\r", "\n\n", "\r\n\r\n"];

const texts = new Set(["", " ", "\n", "\r\n", "\f", "{}", "€", "ç", "`", "Ç"]);
const around = (unit, sizes) => sizes.forEach((size) => [-2, -1, 0, 1, 2].forEach((by) => texts.add(unit.repeat(Math.max(0, size + by)))));

around("a", [160, 306, 459, 612, 1530]);
around("€", [80, 76, 77, 153, 229]);
around("é", [160, 306]);
around("ç", [70, 134, 201, 670]);
around("😀", [35, 33, 66, 67, 99]);
for (const size of [150, 151, 152, 153, 158, 159, 160, 304, 305, 306]) texts.add("a".repeat(size) + "€" + "b".repeat(200)).add("a".repeat(size) + "{x}");
for (const size of [60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 132, 133, 134]) {
  for (const cluster of ["😀", "👨‍👩‍👧‍👦", "🇺🇸", "👍🏽", "❤️", "e\u0301"]) {
    texts.add("ç" + "a".repeat(size - 1) + cluster).add("ç" + "a".repeat(size - 1) + cluster + "b".repeat(70));
  }
  texts.add("“" + "a".repeat(size) + "”").add("ç" + "a".repeat(size - 2) + "\r\n" + "b".repeat(10)).add("ç" + "a".repeat(size - 2) + "\r\n".repeat(4) + "b".repeat(60));
}
for (const cluster of clusters) {
  texts.add(cluster);
  for (const count of [5, 9, 17, 24, 36]) texts.add(cluster.repeat(count)).add(("a" + cluster).repeat(count));
}
const mixtures = [[plain], [plain, gsm], [plain, plain, gsm, extended], [plain, extended], [plain, plain, plain, wide], [plain, clusters], [plain, wide, clusters, breaks], [plain, breaks], [clusters], [wide]];
while (texts.size < 850) {
  const mixture = pick(mixtures);
  const length = pick([8, 40, 72, 140, 155, 165, 300]);
  texts.add(Array.from({ length }, () => pick(pick(mixture))).join(""));
}

const vectors = [...texts].map((text) => {
  const counted = new SegmentedMessage(text);
  const units = counted.encodingName === "GSM-7" ? counted.numberOfCharacters : text.length;
  return [text, counted.encodingName, units, counted.segmentsCount];
});
const lines = vectors.map((vector) => "  " + JSON.stringify(vector)).join(",\n");
process.stdout.write(`{\n "source": "npm sms-segments-calculator ${version}",\n "columns": ["text", "encoding", "units", "segments"],\n "vectors": [\n${lines}\n ]\n}\n`);
