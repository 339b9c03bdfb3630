// Plays scenes with one SDK as its command line asks, and prints as JSON what a caller sees: the twin of playing.py.

exports.KEY = "a-key-of-our-own";

// A PNG of one pixel, as base64.
exports.PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

exports.play = async (connect, scenes) => {
  const task = JSON.parse(process.argv[2]);
  const client = connect(task.base_url);
  const found = [];
  for (const [scene, model] of task.calls) {
    const said = {};
    try {
      await scenes[scene](client, model, said);
    } catch (error) {
      said.error = error.constructor.name;
      said.status = error.status ?? null;
      said.message = String(error.message);
    }
    found.push(said);
  }
  console.log(JSON.stringify(found));
};
